"""Bringing one file to the volume: resumed where it was left, and checked before it counts."""

import errno
import hashlib
import logging
import time
from collections.abc import Callable
from typing import BinaryIO

from heliograph_runtime.weights.errors import FetchError
from heliograph_runtime.weights.remote import RemoteFile, RestartError
from heliograph_runtime.weights.volume import Volume

OnBytes = Callable[[int], None]
"""Called with the bytes that came to be there; negative when some are thrown away."""

_TRIES = 5
_PAUSES = (1.0, 2.0, 4.0, 8.0)
_PIECE = 4 << 20

log = logging.getLogger(__name__)


def bring(file: RemoteFile, volume: Volume, *, on_bytes: OnBytes, pause: Callable[[float], None] = time.sleep) -> str:
    """Bring a file to the volume, unless it is there; return its digest.

    A try that ends early is followed by another, which goes on where that ended; one that got further is not counted.

    Args:
        file: The file.
        volume: Where to.
        on_bytes: Called as bytes arrive, for those that are there already as well.
        pause: Waits so many seconds before the next try.

    Raises:
        FetchError: It can't be had, is another than its digest says, or the volume is full.
    """
    if digest := _present(file, volume):
        on_bytes(file.size or 0)
        return digest
    with volume.partial(file.key) as path:
        if digest := _present(file, volume):  # another brought it meanwhile
            on_bytes(file.size or 0)
            return digest
        try:
            with path.open("r+b") as opened:
                partial = _Partial(opened, on_bytes)
                _complete(file, partial, pause)
                _check(file, partial)
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            raise FetchError(
                "DiskFull", f"{file.field}: the volume is full before all of {file.name} is there; make it larger"
            ) from None
        volume.keep(path, partial.digest)
    return partial.digest


def _present(file: RemoteFile, volume: Volume) -> str | None:
    if file.sha256:
        return file.sha256 if volume.blob(file.sha256) else None
    return volume.known(file.key)


def _complete(file: RemoteFile, partial: "_Partial", pause: Callable[[float], None]) -> None:
    failures, most = 0, partial.bytes
    while partial.bytes != file.size:
        try:
            for piece in file.read(partial.bytes):
                partial.add(piece)
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
        failures = 0 if partial.bytes > most else failures + 1
        most = max(most, partial.bytes)
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

    def __init__(self, opened: BinaryIO, on_bytes: OnBytes) -> None:
        self.bytes = 0
        self._file = opened
        self._on_bytes = on_bytes
        self._hash = hashlib.sha256()
        while piece := opened.read(_PIECE):
            self._count(piece)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def add(self, piece: bytes) -> None:
        self._file.write(piece)
        self._count(piece)

    def restart(self) -> None:
        self._on_bytes(-self.bytes)
        self._file.seek(0)
        self._file.truncate()
        self.bytes, self._hash = 0, hashlib.sha256()

    def _count(self, piece: bytes) -> None:
        self._hash.update(piece)
        self.bytes += len(piece)
        self._on_bytes(len(piece))
