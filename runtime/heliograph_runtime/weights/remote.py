"""A file of a source, whatever kind of source that is."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RemoteFile(ABC):
    """A file that can be read from any place on.

    Attributes:
        field: Field of the ImageModel that it comes from.
        target: Its place in the model's folder.
        name: What people call it: its path in the source.
        identity: What tells this file, in this version, from every other one.
        size: Its bytes; None when the source does not tell.
        sha256: Its digest, when the source or the ImageModel tells it.
    """

    field: str
    target: str
    name: str
    identity: str
    size: int | None = None
    sha256: str | None = None

    @property
    def key(self) -> str:
        """Return what the file is called while it is not whole."""
        return hashlib.sha256(self.identity.encode()).hexdigest()

    @abstractmethod
    def read(self, start: int) -> Iterator[bytes]:
        """Yield the file from a byte on, in pieces of any size.

        Raises:
            FetchError: It can't be had.
            RestartError: It can't be had from there on, but from its start.
        """


class RestartError(Exception):
    """A source that does not give a file from the middle on, or whose file is another by now."""
