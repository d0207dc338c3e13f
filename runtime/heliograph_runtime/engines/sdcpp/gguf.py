"""Headers of GGUF files.

The format: `ggml/docs/gguf.md`. What stable-diffusion.cpp does not survive is refused too: ggml's
`gguf_init_from_file` divides by dimensions, and asserts the type of the alignment.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from heliograph_runtime.engines.sdcpp.tensors import (
    BLOCKS,
    MAX_DIMENSIONS,
    BrokenHeaderError,
    Header,
    TensorInfo,
    check_regions,
    data_bytes,
    elements,
    quoted,
)

MAGIC = b"GGUF"

_TYPES: Mapping[int, str] = {
    0: "f32", 1: "f16", 2: "q4_0", 3: "q4_1", 6: "q5_0", 7: "q5_1", 8: "q8_0", 9: "q8_1", 10: "q2_k", 11: "q3_k",
    12: "q4_k", 13: "q5_k", 14: "q6_k", 15: "q8_k", 16: "iq2_xxs", 17: "iq2_xs", 18: "iq3_xxs", 19: "iq1_s",
    20: "iq4_nl", 21: "iq3_s", 22: "iq2_s", 23: "iq4_xs", 24: "i8", 25: "i16", 26: "i32", 27: "i64", 28: "f64",
    29: "iq1_m", 30: "bf16", 34: "tq1_0", 35: "tq2_0", 39: "mxfp4", 40: "nvfp4",
}  # fmt: skip
"""Names by `ggml_type`, as `ggml.h` numbers them; the numbers left out are of types that were removed."""

_SCALARS: Mapping[int, struct.Struct] = {
    number: struct.Struct(f"<{code}")
    for number, code in zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True)
}
_UINT32, _STRING, _ARRAY = 4, 8, 9
_COUNT = struct.Struct("<Q")
_NUMBER = struct.Struct("<I")
_COUNTS = struct.Struct("<QQ")

_MAX_HEADER = 100_000_000
"""Bytes; the largest headers are those of language models, whose vocabularies take less than 20 MB."""
_MAX_TENSORS = 16_384
_MAX_ENTRIES = 4_096
"""ggml compares each name with all before it, so that large counts would keep it busy for minutes."""
_MAX_NAME = 1_024
_MAX_KEY = 65_535
_MAX_STRINGS = 2_000_000
_MAX_ELEMENTS = 1 << 62
_MAX_ALIGNMENT = 1 << 16
_DEFAULT_ALIGNMENT = 32
_KEPT_TEXT = 4_096


class _Reader:
    """Reads a header from its start; refuses what is longer than the file, before memory is taken for it."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._end = min(size, _MAX_HEADER)
        self._size = size
        self.position = 0

    def take(self, count: int) -> bytes:
        self._reserve(count)
        data = self._file.read(count)
        if len(data) != count:
            raise BrokenHeaderError("became shorter while it was read")
        return data

    def skip(self, count: int) -> None:
        self._reserve(count)
        self._file.seek(count, 1)

    def number(self, form: struct.Struct) -> Any:
        return form.unpack(self.take(form.size))[0]

    def text(self, limit: int, what: str) -> str:
        length = self.number(_COUNT)
        if length > limit:
            raise BrokenHeaderError(f"claims {what} of {length} bytes")
        try:
            return self.take(length).decode()
        except UnicodeDecodeError:
            raise BrokenHeaderError(f"holds {what} that is not UTF-8") from None

    def _reserve(self, count: int) -> None:
        self.position += count
        if self.position > self._end:
            problem = "ends within its header" if self._end == self._size else f"has a header over {_MAX_HEADER} bytes"
            raise BrokenHeaderError(problem)


def read_gguf(file: BinaryIO, size: int) -> Header:
    """Return the header of a file that starts as GGUF does.

    Args:
        file: The file at its start.
        size: Its length in bytes.

    Raises:
        BrokenHeaderError: The header breaks the format, or lies about the file.
    """
    reader = _Reader(file, size)
    reader.skip(len(MAGIC))
    _check_version(reader.number(_NUMBER))
    tensor_count, entry_count = _COUNTS.unpack(reader.take(_COUNTS.size))
    if tensor_count > _MAX_TENSORS:
        raise BrokenHeaderError(f"claims {tensor_count} tensors, of which there can be {_MAX_TENSORS}")
    if entry_count > _MAX_ENTRIES:
        raise BrokenHeaderError(f"claims {entry_count} entries of metadata, of which there can be {_MAX_ENTRIES}")
    metadata, alignment = _read_metadata(reader, entry_count)
    tensors: dict[str, TensorInfo] = {}
    regions = []
    for name, info, offset in _read_tensors(reader, tensor_count):
        if name in tensors:
            raise BrokenHeaderError(f"holds two tensors named {quoted(name)}")
        if offset % alignment:
            raise BrokenHeaderError(f"stores the data of {quoted(name)} at {offset}, no multiple of {alignment}")
        tensors[name] = info
        regions.append((offset, offset + info.bytes, name))
    start = -(-reader.position // alignment) * alignment
    check_regions(regions, end=size - start, gaps=True)
    return Header("gguf", tensors, metadata)


def _check_version(version: int) -> None:
    if version in {2, 3}:
        return
    if version == 1:
        raise BrokenHeaderError("is GGUF of version 1, which is no longer read", "convert it with a newer llama.cpp")
    if version & 0xFFFF == 0:
        raise BrokenHeaderError("is GGUF for big-endian machines", "convert it with llama.cpp's gguf_convert_endian.py")
    raise BrokenHeaderError(f"is GGUF of version {version}, and 2 and 3 are read", "convert it to version 3")


def _read_metadata(reader: _Reader, count: int) -> tuple[dict[str, str | int | float | bool], int]:
    """Return the single values, and the alignment of the data."""
    metadata: dict[str, str | int | float | bool] = {}
    seen = set()
    alignment = _DEFAULT_ALIGNMENT
    for _ in range(count):
        key = reader.text(_MAX_KEY, "a key of metadata")
        if key in seen:
            raise BrokenHeaderError(f"holds two entries of metadata named {quoted(key)}")
        seen.add(key)
        kind = reader.number(_NUMBER)
        value = _read_value(reader, key, kind)
        if key == "general.alignment":
            alignment = _alignment(kind, value)
        if value is not None:
            metadata[key] = value
    return metadata, alignment


def _read_value(reader: _Reader, key: str, kind: int) -> str | int | float | bool | None:
    """Return a single value, or None for what is only passed over."""
    if kind in _SCALARS:
        scalar: int | float | bool = reader.number(_SCALARS[kind])
        return scalar
    if kind == _STRING:
        length = reader.number(_COUNT)
        if length > _KEPT_TEXT:
            reader.skip(length)
            return None
        return reader.take(length).decode(errors="replace")
    if kind == _ARRAY:
        _skip_array(reader, key)
        return None
    raise BrokenHeaderError(f"gives {quoted(key)} the type {kind}, which GGUF does not have")


def _skip_array(reader: _Reader, key: str) -> None:
    kind, count = reader.number(_NUMBER), reader.number(_COUNT)
    if kind in _SCALARS:
        reader.skip(count * _SCALARS[kind].size)
    elif kind == _STRING:
        if count > _MAX_STRINGS:
            raise BrokenHeaderError(f"claims {count} texts in {quoted(key)}, of which there can be {_MAX_STRINGS}")
        for _ in range(count):
            reader.skip(reader.number(_COUNT))
    elif kind == _ARRAY:
        raise BrokenHeaderError(f"nests lists in {quoted(key)}, which ggml does not read")
    else:
        raise BrokenHeaderError(f"lists values of the type {kind} in {quoted(key)}, which GGUF does not have")


def _alignment(kind: int, value: object) -> int:
    if kind != _UINT32 or not isinstance(value, int):
        raise BrokenHeaderError("has a general.alignment that is no 32-bit number")
    if not 0 < value <= _MAX_ALIGNMENT or value & (value - 1):
        raise BrokenHeaderError(f"has the general.alignment {value}, no power of two up to {_MAX_ALIGNMENT}")
    return value


def _read_tensors(reader: _Reader, count: int) -> Iterator[tuple[str, TensorInfo, int]]:
    """Yield the name of each tensor, what it is, and where its data start."""
    for _ in range(count):
        name = reader.text(_MAX_NAME, "a tensor's name")
        dimensions = reader.number(_NUMBER)
        if not name:
            raise BrokenHeaderError("holds a tensor without a name")
        if dimensions > MAX_DIMENSIONS:
            raise BrokenHeaderError(
                f"gives {quoted(name)} {dimensions} dimensions, of which there can be {MAX_DIMENSIONS}"
            )
        # ggml's first dimension is the fastest, PyTorch's last.
        shape = tuple(reversed(struct.unpack(f"<{dimensions}Q", reader.take(8 * dimensions))))
        if 0 in shape or elements(shape) > _MAX_ELEMENTS:
            raise BrokenHeaderError(f"gives {quoted(name)} the impossible shape {list(shape)}")
        number, offset = reader.number(_NUMBER), reader.number(_COUNT)
        kind = _TYPES.get(number)
        if kind is None:
            raise BrokenHeaderError(
                f"stores {quoted(name)} in the type {number}, which ggml does not have", "convert it to a type it has"
            )
        row, block = shape[-1] if shape else 1, BLOCKS[kind][0]
        if row % block:
            raise BrokenHeaderError(f"stores {quoted(name)} in rows of {row}, which {kind} cuts into blocks of {block}")
        yield name, TensorInfo(shape, kind, data_bytes(shape, kind)), offset
