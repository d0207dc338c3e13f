"""Files of this machine, for `heliograph serve`, where whoever names them could read them anyway."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from heliograph_api.sources import LocalSource
from heliograph_runtime.weights.errors import FetchError
from heliograph_runtime.weights.listing import Entry, Listing
from heliograph_runtime.weights.remote import RemoteFile

_PIECE = 4 << 20


@dataclass(frozen=True, kw_only=True)
class LocalFile(RemoteFile):
    """A file of this machine.

    Attributes:
        path: Where it is.
    """

    path: Path

    def read(self, start: int) -> Iterator[bytes]:
        """Yield the file from a byte on; see `RemoteFile.read`."""
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                while piece := file.read(_PIECE):
                    yield piece
        except OSError as error:
            raise _unreadable(self.field, self.name, error) from None


def list_local(source: LocalSource, *, field: str) -> tuple[Listing, str | None, str]:
    """Return what a file's folder holds and the name of the file, or what a folder holds and None; a prefix is empty.

    Raises:
        FetchError: It is not there, or can't be read.
    """
    path = Path(source.path)
    try:
        root = path if path.is_dir() else path.parent
        files = [path] if path.is_file() else [found for found in sorted(path.rglob("*")) if found.is_file()]
        states = {str(found.relative_to(root)): found.stat() for found in files}
    except OSError as error:
        raise _unreadable(field, source.path, error) from None
    if not files:
        raise FetchError("WeightsNotFound", f"{field}: there is no file {source.path}; correct the path")

    def open_file(name: str, target: str) -> LocalFile:
        state = states[name]
        return LocalFile(
            field=field,
            target=target,
            name=name,
            identity=f"file {state.st_dev} {state.st_ino} {state.st_mtime_ns} {state.st_size}",
            size=state.st_size,
            path=root / name,
        )

    entries = [Entry(name, state.st_size) for name, state in states.items()]
    return Listing(source.path, entries, open_file), path.name if path.is_file() else None, ""


def _unreadable(field: str, name: str, error: OSError) -> FetchError:
    why = error.strerror or type(error).__name__
    return FetchError("WeightsNotFound", f"{field}: {name} can't be read: {why}; correct the path, or its permissions")
