"""Bringing one file to the volume: resumed where it was left, and checked before it counts."""

import errno
import hashlib
import logging
import time
from collections.abc import Callable
from threading import Event
from typing import BinaryIO

from heliograph_runtime.weights.errors import FetchError
from heliograph_runtime.weights.progress import Progress
from heliograph_runtime.weights.remote import RemoteFile, RestartError
from heliograph_runtime.weights.volume import Volume

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors of a volume that takes no more."""

_TRIES = 5
_PAUSES = (1.0, 2.0, 4.0, 8.0)
_PIECE = 4 << 20

log = logging.getLogger(__name__)


class Stopped(Exception):  # noqa: N818 - nothing went wrong with this file
    """A download that another one's failure made pointless; what is there of it is kept."""


def bring(
    file: RemoteFile,
    volume: Volume,
    *,
    progress: Progress,
    most: int | None = None,
    stop: Event | None = None,
    pause: Callable[[float], object] = time.sleep,
) -> str:
    """Bring a file to the volume, unless it is there; return its digest.

    A try that ends early is followed by another, which goes on where that ended; one that got further is not counted.

    Args:
        file: The file.
        volume: Where to.
        progress: Told of bytes as they arrive, and of those that are there already.
        most: Bytes that it may have.
        stop: Set when the file is not wanted any more.
        pause: Waits so many seconds before the next try.

    Raises:
        FetchError: It can't be had, is another than its digest says, or the volume is full.
        Stopped: `stop` was set.
    """
    if digest := _present(file, volume):
        progress.add(file.size or 0)
        return digest
    with volume.partial(file.key) as path:
        if digest := _present(file, volume):  # another brought it meanwhile
            progress.add(file.size or 0)
            return digest
        try:
            with path.open("r+b") as opened:
                partial = _Partial(opened, progress, stop or Event())
                _complete(file, partial, most, pause)
                _check(file, partial)
            volume.keep(path, partial.digest)
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise FetchError(
                "DiskFull",
                f"{file.field}: the volume is full before all of {file.name} is there; make it larger",
                passes=True,
            ) from None
    return partial.digest


def too_large(what: str, most: int) -> FetchError:
    """Return the error for what has more bytes than are allowed."""
    return FetchError(
        "TooLarge", f"{what} has more than the {most} bytes that the administrator allows; name smaller weights"
    )


def _present(file: RemoteFile, volume: Volume) -> str | None:
    if file.sha256:
        return file.sha256 if volume.blob(file.sha256) else None
    return volume.known(file.key)


def _complete(file: RemoteFile, partial: "_Partial", most: int | None, pause: Callable[[float], object]) -> None:
    failures, furthest = 0, partial.bytes
    while partial.bytes != file.size:
        try:
            for piece in file.read(partial.bytes):
                partial.add(piece)
                if most is not None and partial.bytes > most:
                    raise too_large(f"{file.field}: {file.name}", most)
            if file.size in {None, partial.bytes}:
                return
            problem = _wrong_size(file, partial)
        except RestartError:
            problem = _wrong_size(file, partial)
            partial.restart()
        except FetchError as error:
            if not error.passes:
                raise
            problem = error
        failures = 0 if partial.bytes > furthest else failures + 1
        furthest = max(furthest, partial.bytes)
        if failures == _TRIES:
            raise problem
        log.warning("%s; going on from byte %d", problem, partial.bytes)
        pause(_PAUSES[min(failures, len(_PAUSES) - 1)])


def _wrong_size(file: RemoteFile, partial: "_Partial") -> FetchError:
    where = f"{file.field}: {file.name}"
    if file.size is not None and partial.bytes > file.size:
        partial.restart()
        return FetchError(
            "SourceUnreachable", f"{where} has more than the {file.size} bytes that it should", passes=True
        )
    return FetchError("SourceUnreachable", f"{where} ends after {partial.bytes} bytes of {file.size}", passes=True)


def _check(file: RemoteFile, partial: "_Partial") -> None:
    digest = partial.digest
    if file.sha256 in {None, digest}:
        return
    partial.restart()
    raise FetchError(
        "ChecksumMismatch",
        f"{file.field}: {file.name} has the SHA-256 {digest}, not {file.sha256}; what was fetched is thrown away: "
        "correct the digest, or ask whoever keeps the file",
    )


class _Partial:
    """What is there of a file, and the digest of it."""

    def __init__(self, opened: BinaryIO, progress: Progress, stop: Event) -> None:
        self.bytes = 0
        self._file = opened
        self._progress = progress
        self._stop = stop
        self._hash = hashlib.sha256()
        while piece := opened.read(_PIECE):
            self._count(piece)
            progress.add(len(piece))

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def add(self, piece: bytes) -> None:
        self._file.write(piece)
        self._count(piece)
        self._progress.arrive(len(piece))

    def restart(self) -> None:
        self._progress.add(-self.bytes)
        self._file.seek(0)
        self._file.truncate()
        self.bytes, self._hash = 0, hashlib.sha256()

    def _count(self, piece: bytes) -> None:
        if self._stop.is_set():
            raise Stopped
        self._hash.update(piece)
        self.bytes += len(piece)
