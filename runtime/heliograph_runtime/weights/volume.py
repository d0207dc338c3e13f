"""The volume that weights are fetched into.

    blobs/DIGEST          content by its SHA-256, read-only
    partial/KEY           what is there of a file so far; KEY stands for a file of a source in one version
    known/KEY             the digest of a file that a source gave no digest for, as it was found
    models/NAME/...       the folder of a model: hard links to blobs, and RECEIPT
    lock                  held by every fetch together with others, by a collection alone

A model's folder comes into being whole, by one rename, and is not changed any more. What two models share lies there
once. A blob with no other link belongs to nobody, or to a model that is not whole yet. Whoever writes here may be
killed at any moment: what there is of a file is good for going on, and all else is whole or not there.
"""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self
from uuid import uuid4

from heliograph_api.weights import RECEIPT

_READ_ONLY = 0o444


@dataclass(frozen=True)
class Receipt:
    """What was fetched for a model.

    Attributes:
        bytes: Size of all files.
        files: Digest of each file by its place in the folder.
        revisions: The commit that each source's revision stood for, by field of the ImageModel.
    """

    bytes: int
    files: Mapping[str, str]
    revisions: Mapping[str, str]

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return the receipt of a model's folder; None when that is not there."""
        try:
            return cls(**json.loads((folder / RECEIPT).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None


class Volume:
    """A folder for weights, which several processes may use at once."""

    def __init__(self, root: Path) -> None:
        """Use a folder, making what it lacks.

        Raises:
            OSError: It can't be written.
        """
        self._lock = root / "lock"
        self._blobs, self._partial = root / "blobs", root / "partial"
        self._known, self._models = root / "known", root / "models"
        for folder in (self._blobs, self._partial, self._known, self._models):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def free_bytes(self) -> int:
        """Return how much more can be written."""
        return shutil.disk_usage(self._blobs).free

    def folder(self, name: str) -> Path:
        """Return where the folder of a model is, or will be."""
        return self._models / name

    def blob(self, digest: str) -> Path | None:
        """Return the content with a digest, if it is there."""
        path = self._blobs / digest
        return path if path.is_file() else None

    def known(self, key: str) -> str | None:
        """Return the digest of a file that is there, by its key."""
        try:
            digest = (self._known / key).read_text(encoding="ascii")
        except FileNotFoundError:
            return None
        return digest if self.blob(digest) else None

    def partial_bytes(self, key: str) -> int:
        """Return how much is there of a file that is not whole yet."""
        try:
            return (self._partial / key).stat().st_size
        except FileNotFoundError:
            return 0

    @contextmanager
    def partial(self, key: str) -> Iterator[Path]:
        """Give the partial file of a key to the caller alone, waiting for another that has it."""
        path = self._partial / key
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield path
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)

    def keep(self, partial: Path, digest: str) -> None:
        """Make a partial file, which is whole by now, the content with its digest."""
        _sync(partial)
        partial.chmod(_READ_ONLY)
        partial.rename(self._blobs / digest)
        known = self._known / f".{partial.name}.{uuid4().hex}"
        known.write_text(digest, encoding="ascii")
        known.rename(self._known / partial.name)

    def assemble(self, name: str, files: Mapping[str, str], *, revisions: Mapping[str, str]) -> Receipt:
        """Make the folder of a model.

        Args:
            name: Name of the folder.
            files: Digest of each file by its place in it.
            revisions: See `Receipt`.
        """
        unfinished = self._models / f".{name}.{uuid4().hex}"
        unfinished.mkdir()
        try:
            for place, digest in files.items():
                target = unfinished / place
                target.parent.mkdir(parents=True, exist_ok=True)
                target.hardlink_to(self._blobs / digest)
            size = sum((self._blobs / digest).stat().st_size for digest in files.values())
            receipt = Receipt(size, dict(files), dict(revisions))
            (unfinished / RECEIPT).write_text(json.dumps(asdict(receipt)), encoding="utf-8")
            _sync(unfinished / RECEIPT)
            try:
                unfinished.rename(self.folder(name))
            except OSError:
                if not self.folder(name).is_dir():  # else another that fetched the same was first
                    raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        return receipt

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep `collect` away while content is here that no model's folder holds yet."""
        with self._lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            yield

    def collect(self, keep: Iterable[str], *, unchanged_seconds: float) -> int:
        """Remove the folders of all other models, and what belongs to none; return the bytes that became free.

        Nothing is removed while somebody fetches.

        Args:
            keep: Names of the folders that stay.
            unchanged_seconds: What was changed since then stays too: names may be older than what they don't name, and
                a fetch that was ended may be gone on with.
        """
        with self._lock.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return 0
            return self._collect(set(keep), before=time.time() - unchanged_seconds)

    def _collect(self, keep: set[str], *, before: float) -> int:
        for folder in self._models.iterdir():
            if folder.name not in keep and folder.stat().st_mtime <= before:
                shutil.rmtree(folder, ignore_errors=True)
        freed = 0
        for content in (*self._blobs.iterdir(), *self._partial.iterdir()):
            state = content.stat()
            if state.st_nlink == 1 and state.st_mtime <= before:
                freed += state.st_size
                content.unlink(missing_ok=True)
        for key in self._known.iterdir():
            if self.known(key.name) is None:
                key.unlink(missing_ok=True)
        return freed


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
