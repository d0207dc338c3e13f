"""The volume that weights are fetched into.

    blobs/DIGEST          content by its SHA-256, read-only
    partial/KEY           what is there of a file so far; KEY stands for a file of a source in one version
    known/KEY             the digest of a file that a source gave no digest for, as it was found
    models/NAME/...       the folder of a model: hard links to blobs, and RECEIPT

A model's folder comes into being whole, by one rename, and is not changed any more. What two models share lies there
once. A blob with no other link belongs to nobody.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self
from uuid import uuid4

RECEIPT = ".heliograph.json"
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
        return path if path.exists() else None

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
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.chmod(_READ_ONLY)
        (self._known / partial.name).write_text(digest, encoding="ascii")
        partial.rename(self._blobs / digest)

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
            with suppress(OSError):  # another that fetched the same was first
                unfinished.rename(self.folder(name))
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        return receipt

    def collect(self, keep: set[str]) -> int:
        """Remove the folders of all other models, and what belongs to none; return the bytes that became free."""
        for folder in self._models.iterdir():
            if folder.name not in keep and not folder.name.startswith("."):
                shutil.rmtree(folder, ignore_errors=True)
        freed = 0
        for blob in self._blobs.iterdir():
            state = blob.stat()
            if state.st_nlink == 1:
                freed += state.st_size
                blob.unlink(missing_ok=True)
        for key in self._known.iterdir():
            if self.known(key.name) is None:
                key.unlink(missing_ok=True)
        return freed
