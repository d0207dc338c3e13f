"""What a file of weights tells of itself, read from its header alone.

A file's format is told by its content, never by its name, and everything in it is taken as a stranger's: each count and
each length is bounded before memory is taken for it. No data of a tensor are read.
"""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from heliograph_runtime.engines.protocol import LoadError
from heliograph_runtime.engines.sdcpp.gguf import MAGIC, read_gguf
from heliograph_runtime.engines.sdcpp.safetensors import LENGTH_BYTES, MAX_HEADER, read_safetensors
from heliograph_runtime.engines.sdcpp.tensors import BrokenHeaderError, Header, TensorInfo

__all__ = ["Header", "TensorInfo", "read_header"]

_HEAD = LENGTH_BYTES + 1
_ZIPS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_PICKLE = 0x80
_PICKLE_PROTOCOLS = range(2, 6)
_LFS_POINTER = b"version h"
_CONVERT = "convert it to safetensors or GGUF"


def read_header(path: Path, *, field: str) -> Header:
    """Return the header of a GGUF or safetensors file.

    Args:
        path: The file.
        field: Field of the spec to blame.

    Raises:
        LoadError: `WeightsMissing` where no file can be opened, `UnsafeWeights` for a pickle, `CorruptWeights` for a
            file that is broken, `UnknownFormat` for what is none of these.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            return _read(file)
    except BrokenHeaderError as error:
        raise LoadError(error.reason, f"{field}: {path} {error.problem}; {error.remedy}") from None
    except IsADirectoryError:
        raise LoadError("UnknownFormat", f"{field}: {path} is a folder; name a file of weights in it") from None
    except (OSError, ValueError):
        raise LoadError(
            "WeightsMissing", f"{field}: {path} can't be read; put the file there, readable for the server"
        ) from None


def _open_at_once(path: str, flags: int) -> int:
    """Open a file without waiting, as the reading end of a pipe would for someone to write into it."""
    return os.open(path, flags | os.O_NONBLOCK)


def _read(file: BinaryIO) -> Header:
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise BrokenHeaderError("is no file", "name a file of weights", reason="UnknownFormat")
    size = status.st_size
    head = file.read(_HEAD)
    file.seek(0)
    if not head:
        raise BrokenHeaderError("is empty")
    if head.startswith(MAGIC):
        return read_gguf(file, size)
    if head.startswith(_ZIPS) or _is_pickle(head):
        raise BrokenHeaderError("is a pickle, which can run code as it is read", _CONVERT, reason="UnsafeWeights")
    if head.endswith(b"{") and len(head) == _HEAD:
        return read_safetensors(file, size)
    if head == _LFS_POINTER:
        raise BrokenHeaderError(
            "is a pointer of Git LFS, not the file itself", "run `git lfs pull`", reason="UnknownFormat"
        )
    if len(head) < _HEAD:
        raise BrokenHeaderError(f"is only {size} bytes long")
    raise BrokenHeaderError("is neither GGUF nor safetensors", _CONVERT, reason="UnknownFormat")


def _is_pickle(head: bytes) -> bool:
    """Return whether a file starts as a pickle does, and not with the length of a safetensors header that looks so."""
    starts_so = head[0] == _PICKLE and len(head) > 1 and head[1] in _PICKLE_PROTOCOLS
    return starts_so and not (head[-1:] == b"{" and int.from_bytes(head[:LENGTH_BYTES], "little") <= MAX_HEADER)
