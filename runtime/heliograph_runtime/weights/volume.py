"""The volume that weights are fetched into.

    blobs/DIGEST          content by its SHA-256, read-only
    partial/KEY           what is there of a file so far; KEY stands for a file of a source in one version
    known/KEY             the digest of a file that a source gave no digest for, as it was found
    fetching/NAME         the keys of a model's files, until its folder is there
    models/NAME/...       the folder of a model: hard links to blobs, and RECEIPT
    lock                  held by every fetch together with others, by a collection alone

A model's folder comes into being whole, by one rename, and is not changed any more; by one rename it also goes, to
models/.NAME.removing, before it is emptied. What two models share lies there once. A blob with no other link belongs to
nobody, or to a model that is not whole yet. Whoever writes here may be killed at any moment: what there is of a file is
good for going on, and all else is whole or not there.
"""

import fcntl
import json
import os
import re
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
_DIGEST = re.compile(r"[0-9a-f]{64}")
_UNFINISHED = re.compile(r"\..+\.([0-9a-f]{32}|removing)")


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
        """Return the receipt of a model's folder; None when that is not there, or has none that can be read."""
        try:
            return cls(**json.loads((folder / RECEIPT).read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
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
        self._fetching = root / "fetching"
        for folder in (self._blobs, self._partial, self._known, self._fetching, self._models):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def free_bytes(self) -> int:
        """Return how much more can be written."""
        return shutil.disk_usage(self._blobs).free

    def folder(self, name: str) -> Path:
        """Return where the folder of a model is, or will be."""
        return self._models / name

    def blob(self, digest: str) -> Path | None:
        """Return the content with a digest, if it is there; sources tell digests, and not all that they tell is one."""
        path = self._blobs / digest
        return path if _DIGEST.fullmatch(digest) and path.is_file() else None

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
        known = self._known / f".{partial.name}.{uuid4().hex}"
        known.write_text(digest, encoding="ascii")
        known.rename(self._known / partial.name)
        if self.blob(digest):
            partial.unlink()
            return
        # Read-only at last: whoever is ended before that must be able to go on with the partial file.
        partial.rename(self._blobs / digest).chmod(_READ_ONLY)

    def begin(self, name: str, keys: Iterable[str]) -> None:
        """Write down the keys of files that are fetched for a model, so that `remove` finds what there is of them."""
        with (self._fetching / name).open("a", encoding="utf-8") as note:
            note.writelines(f"{key}\n" for key in keys)

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
            self._place(unfinished, name)
            (self._fetching / name).unlink(missing_ok=True)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        return receipt

    def _place(self, unfinished: Path, name: str) -> None:
        folder = self.folder(name)
        try:
            unfinished.rename(folder)
        except OSError:
            if Receipt.read(folder) is not None:
                return  # another that fetched the same was first
            if not folder.is_dir():
                raise
            # What lies there is not whole, and nobody knows what it is.
            shutil.rmtree(folder.rename(self._models / f".{name}.{uuid4().hex}"), ignore_errors=True)
            unfinished.rename(folder)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep `collect` away while content is here that no model's folder holds yet."""
        # NFS makes a lock of the file's bytes of it, and such a one to share wants a file that can be read.
        with self._lock.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            yield

    def collect(self, keep: Iterable[str] | None, *, unchanged_seconds: float) -> int:
        """Remove the folders of all other models, and what belongs to none; return the bytes that became free.

        Nothing is removed while somebody fetches.

        Args:
            keep: Names of the folders that stay; None for all of them, and for what there is of any model's files.
            unchanged_seconds: What was changed since then stays too: names may be older than what they don't name, and
                a fetch that was ended may be gone on with.
        """
        with self._lock.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return 0
            return self._collect(None if keep is None else set(keep), before=time.time() - unchanged_seconds)

    def remove(self, name: str) -> int:
        """Remove the folder of a model, and the content that no other holds; return the bytes that became free.

        What a fetch or a removal left that was ended is removed as well. Nobody may be fetching that model.

        Raises:
            BlockingIOError: Somebody fetches another model, which may be about to use the same content.
        """
        with self._lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for unfinished in self._unfinished(name):
                shutil.rmtree(unfinished, ignore_errors=True)
            going = self._going(name)
            freed = self._empty(going)
            if self.folder(name).is_dir():
                self.folder(name).rename(going)
                freed += self._empty(going)
            freed += self._abandon(name)
            self._forget_removed()
            return freed

    def _abandon(self, name: str) -> int:
        """Remove what there is of a model that was not fetched to the end, but for what others fetch too."""
        notes = self._notes()
        own = notes.pop(name, set())
        freed = 0
        for content in self._begun([own]) - self._begun(notes.values()):
            if content.is_file() and (state := content.stat()).st_nlink == 1:
                freed += state.st_size
                content.unlink()
        (self._fetching / name).unlink(missing_ok=True)
        return freed

    def _notes(self) -> dict[str, set[str]]:
        """Return the keys of the files of each model that was begun and is not whole yet."""
        return {note.name: set(note.read_text(encoding="utf-8").split()) for note in self._fetching.iterdir()}

    def _begun(self, notes: Iterable[set[str]]) -> set[Path]:
        """Return what there is, or may come to be, of files by their keys."""
        keys = set().union(*notes)
        blobs = {self._blobs / digest for digest in map(self.known, keys) if digest}
        return blobs | {self._partial / key for key in keys}

    def _empty(self, folder: Path) -> int:
        """Remove a folder whose receipt goes last, since it tells what else is to go."""
        if folder.is_symlink():
            folder.unlink()
            return 0
        receipt = Receipt.read(folder)
        for path in folder.rglob("*"):
            if (path.is_symlink() or not path.is_dir()) and path != folder / RECEIPT:
                path.unlink()
        freed = 0
        for digest in set(receipt.files.values()) if receipt else ():
            blob = self.blob(digest)
            if blob is not None and (state := blob.stat()).st_nlink == 1:
                freed += state.st_size
                blob.unlink()
        shutil.rmtree(folder, ignore_errors=True)
        return freed

    def _collect(self, keep: set[str] | None, *, before: float) -> int:
        for folder in self._models.iterdir():
            # What has such a name was never whole, or is being removed.
            stays = not _UNFINISHED.fullmatch(folder.name) if keep is None else folder.name in keep
            if not stays and folder.stat().st_mtime <= before:
                # By another name first: half of a folder must not pass for the whole.
                going = folder if folder.name.startswith(".") else folder.rename(self._going(folder.name))
                shutil.rmtree(going, ignore_errors=True)
        for note in self._fetching.iterdir():
            if keep is not None and note.name not in keep and note.stat().st_mtime <= before:
                note.unlink(missing_ok=True)
        begun = set() if keep is not None else self._begun(self._notes().values())
        freed = 0
        for content in (*self._blobs.iterdir(), *self._partial.iterdir()):
            if keep is None and not _DIGEST.fullmatch(content.name):
                continue  # somebody else's
            state = content.stat()
            if state.st_nlink == 1 and state.st_mtime <= before and content not in begun:
                freed += state.st_size
                content.unlink(missing_ok=True)
        self._forget_removed()
        return freed

    def _going(self, name: str) -> Path:
        return self._models / f".{name}.removing"

    def _unfinished(self, name: str) -> list[Path]:
        """Return what was made to become the folder of a model, and did not."""
        pattern = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{32}}")
        return [folder for folder in self._models.iterdir() if pattern.fullmatch(folder.name)]

    def _forget_removed(self) -> None:
        for key in self._known.iterdir():
            if self.known(key.name) is None:
                key.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
