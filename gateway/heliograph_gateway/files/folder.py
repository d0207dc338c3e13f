"""Files in a folder, which may be on a volume that several gateways share."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import BinaryIO

from heliograph_gateway.backends import StateError
from heliograph_gateway.files.storage import MARKER, checked_id, of_another_installation

_PIECE = 256 * 1024


class FolderStorage:
    """One file in the folder for each file; see `Storage`."""

    def __init__(self, folder: Path, *, setting: str = "data_dir") -> None:
        """Keep files in a folder; nothing is made yet.

        Args:
            folder: The folder; nothing else may be in it.
            setting: Setting that it comes from.
        """
        self._folder = folder
        self._setting = setting

    async def open(self, installation: str | None) -> None:
        """Make the folder, for its owner alone, and its marker; see `Storage.open`."""
        try:
            await asyncio.to_thread(self._open, installation)
        except OSError as error:
            raise StateError(
                f"{self._setting}: {self._folder} cannot be used: {error.strerror}; name a folder that can be written"
            ) from None

    async def write(self, file_id: str, content: bytes, *, media_type: str) -> None:  # noqa: ARG002 - the list has it
        """Keep a file, under another name until it is whole."""
        await asyncio.to_thread(self._write, self.path(file_id), content)

    async def exists(self, file_id: str) -> bool:
        """Return whether a file is there."""
        return await asyncio.to_thread(self.path(file_id).exists)

    @contextlib.asynccontextmanager
    async def reading(self, file_id: str, start: int, stop: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """Yield what yields the bytes; see `Storage.reading`."""
        file = await asyncio.to_thread(_open_at, self.path(file_id), start)
        try:
            yield _pieces(file, stop - start)
        finally:
            file.close()

    async def remove(self, file_ids: Sequence[str]) -> None:
        """Remove files, and what a killed process left of their beginnings."""
        await asyncio.to_thread(self._remove, file_ids)

    def path(self, file_id: str) -> Path:
        """Return where a file is; raise `ValueError` for what is no id."""
        return self._folder / checked_id(file_id)

    def _open(self, installation: str | None) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if installation is None:
            return
        marker = self._folder / MARKER
        # Of two processes that get here at once, one gives its marker the name.
        fresh = marker.with_name(f"{MARKER}.{secrets.token_hex(8)}")
        fresh.write_text(f"{installation}\n")
        try:
            marker.hardlink_to(fresh)
        except FileExistsError:
            pass
        except OSError:
            # Some network file systems have no hard links.
            if not marker.exists():
                fresh.replace(marker)
        finally:
            fresh.unlink(missing_ok=True)
        if marker.read_text().strip() != installation:
            raise StateError(of_another_installation(f"{self._setting}: {self._folder}", str(marker)))

    def _write(self, path: Path, content: bytes) -> None:
        partial = _partial(path)
        partial.touch(mode=0o600)
        partial.write_bytes(content)
        partial.replace(path)

    def _remove(self, file_ids: Sequence[str]) -> None:
        for path in map(self.path, file_ids):
            path.unlink(missing_ok=True)
            _partial(path).unlink(missing_ok=True)


def _partial(path: Path) -> Path:
    return path.with_suffix(".part")


def _open_at(path: Path, start: int) -> BinaryIO:
    file = path.open("rb")
    file.seek(start)
    return file


async def _pieces(file: BinaryIO, count: int) -> AsyncIterator[bytes]:
    while count > 0 and (piece := await asyncio.to_thread(file.read, min(count, _PIECE))):
        count -= len(piece)
        yield piece
