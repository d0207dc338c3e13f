"""What keeps the bytes of files: a folder or a bucket. The list of the files is in the database."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Protocol

from heliograph_api.errors import APIError

MARKER = "heliograph-installation"
"""Name of the file beside the others that holds the id of the installation that they belong to."""

_ID = re.compile(r"file_[0-9a-f]{32}")


class StorageUnavailableError(APIError):
    """503: the bytes cannot be got at for a while.

    Attributes:
        why: What is wrong, for the log.
    """

    def __init__(self, why: str) -> None:
        """Make the error that a client gets; it does not say `why`."""
        super().__init__(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The gateway cannot reach its file store at the moment; try again in 5 s.",
            code="storage_unavailable",
            headers={"Retry-After": "5"},
        )
        self.why = why


class Storage(Protocol):
    """The bytes of files, by the files' ids. An id is written once, and several gateways may use one storage at once.

    Each method but `open` may raise `StorageUnavailableError`, and `OSError` where the storage is a folder.
    """

    async def open(self, installation: str | None) -> None:
        """Prepare what is to hold the files, and mark it as this installation's.

        Args:
            installation: Id of the installation, which is that of its database; None where nobody else can have the
                same storage.

        Raises:
            StateError: It cannot be used, or belongs to another installation.
        """

    async def write(self, file_id: str, content: bytes, *, media_type: str) -> None:
        """Keep a file; whoever reads it sees all of it or nothing."""

    async def exists(self, file_id: str) -> bool:
        """Return whether a file is there."""

    def reading(self, file_id: str, start: int, stop: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Return what yields the bytes from `start` up to `stop` in parts; `FileNotFoundError` when there are none."""

    async def remove(self, file_ids: Sequence[str]) -> None:
        """Remove files, whether they are there or not."""


def checked_id(file_id: str) -> str:
    """Return a file's id; raise `ValueError` for what is none, so that no id leads anywhere else."""
    if not _ID.fullmatch(file_id):
        raise ValueError("not a file's id")
    return file_id


def is_id(text: str) -> bool:
    """Return whether a text is a file's id."""
    return _ID.fullmatch(text) is not None


def of_another_installation(where: str, marker: str) -> str:
    """Return what a person is told whose storage belongs to somebody else.

    Args:
        where: Setting and value.
        marker: The file that says so.
    """
    return (
        f"{where} holds the files of another installation, one with another database; name another place, or the "
        f"database_url of that one. If that one is gone, remove {marker} and the files beside it"
    )
