"""What a source holds, before any of it is fetched."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from heliograph_runtime.weights.remote import RemoteFile


@dataclass(frozen=True)
class Entry:
    """A file of a source.

    Attributes:
        path: Its path in the source.
        size: Its bytes.
    """

    path: str
    size: int


@dataclass(frozen=True)
class Listing:
    """The files of a source.

    Attributes:
        name: What people call the source.
        entries: All files.
        open: Returns one of them, given its path and its place in the model's folder.
        revision: The commit that the wanted revision stands for; empty where sources have none.
    """

    name: str
    entries: Sequence[Entry]
    open: Callable[[str, str], RemoteFile]
    revision: str = ""
