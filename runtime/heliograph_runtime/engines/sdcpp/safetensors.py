"""Headers of safetensors files, read without the safetensors package, which this engine needs for nothing else."""

import json
from collections.abc import Mapping
from typing import Any, BinaryIO, NoReturn

from heliograph_runtime.engines.sdcpp.tensors import (
    MAX_DIMENSIONS,
    BrokenHeaderError,
    Header,
    TensorInfo,
    check_regions,
    data_bytes,
    quoted,
)

LENGTH_BYTES = 8
MAX_HEADER = 100_000_000
"""Bytes; the format's own limit."""
_MAX_VALUES = 2_000_000
"""Brackets, braces and commas: a bound of what the parsed header takes in memory."""
_MAX_TENSORS = 65_536
_KEPT_TEXT = 4_096
_MAX_OFFSET = 1 << 62

_TYPES: Mapping[str, str] = {
    "F32": "f32", "F16": "f16", "BF16": "bf16", "F64": "f64", "F8_E4M3": "f8_e4m3", "F8_E5M2": "f8_e5m2",
    "I32": "i32", "I64": "i64", "U8": "u8",
}  # fmt: skip
"""What stable-diffusion.cpp reads of the format's types (`safetensors_io.cpp`); U8 it passes over."""
_OTHER_TYPES = frozenset({"BOOL", "I8", "I16", "U16", "U32", "U64", "C64", "F4", "F6_E2M3", "F6_E3M2", "F8_E8M0"})


def read_safetensors(file: BinaryIO, size: int) -> Header:
    """Return the header of a file that starts as safetensors does.

    Args:
        file: The file at its start.
        size: Its length in bytes.

    Raises:
        BrokenHeaderError: The header breaks the format, lies about the file, or has a type that can't be read.
    """
    length = int.from_bytes(file.read(LENGTH_BYTES), "little")
    if length > MAX_HEADER:
        raise BrokenHeaderError(f"claims a header of {length} bytes, and the format allows {MAX_HEADER}")
    if length > size - LENGTH_BYTES:
        raise BrokenHeaderError("ends within its header")
    content = _parse(file.read(length))
    metadata = content.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise BrokenHeaderError("has a __metadata__ that is no object")
    if len(content) > _MAX_TENSORS:
        raise BrokenHeaderError(f"claims {len(content)} tensors, of which there can be {_MAX_TENSORS}")
    tensors = {}
    regions = []
    for name, entry in content.items():
        tensors[name], start = _tensor(name, entry)
        regions.append((start, start + tensors[name].bytes, name))
    # The format leaves no byte unused, so that nothing else can hide in a file.
    check_regions(regions, end=size - LENGTH_BYTES - length, gaps=False)
    kept = {key: value for key, value in metadata.items() if isinstance(value, str) and len(value) <= _KEPT_TEXT}
    return Header("safetensors", tensors, kept)


def _parse(raw: bytes) -> dict[str, Any]:
    if sum(map(raw.count, (b"[", b"{", b","))) > _MAX_VALUES:
        raise BrokenHeaderError("has a header of too many values")
    try:
        content = json.loads(raw.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise BrokenHeaderError("has a header that is not JSON") from None
    if not isinstance(content, dict):
        raise BrokenHeaderError("has a header that is no JSON object")
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        seen = set()
        name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise BrokenHeaderError(f"holds two entries named {quoted(name)}")
    return content


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _tensor(name: str, entry: object) -> tuple[TensorInfo, int]:
    """Return a tensor, and where its data start."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise BrokenHeaderError(f"describes {quoted(name)} by other things than dtype, shape and data_offsets")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _are_numbers(shape) or len(shape) > MAX_DIMENSIONS:
        raise BrokenHeaderError(f"gives {quoted(name)} a shape that is no list of up to {MAX_DIMENSIONS} numbers")
    if not _are_numbers(offsets) or len(offsets) != 2:
        raise BrokenHeaderError(f"gives {quoted(name)} data_offsets that are no two numbers")
    kind = _type(name, entry["dtype"])
    info = TensorInfo(tuple(shape), kind, data_bytes(tuple(shape), kind))
    if offsets[1] - offsets[0] != info.bytes:
        raise BrokenHeaderError(f"keeps {offsets[1] - offsets[0]} bytes for {quoted(name)}, which takes {info.bytes}")
    return info, offsets[0]


def _type(name: str, dtype: object) -> str:
    if isinstance(dtype, str) and dtype in _TYPES:
        return _TYPES[dtype]
    if isinstance(dtype, str) and dtype in _OTHER_TYPES:
        raise BrokenHeaderError(
            f"stores {quoted(name)} as {dtype}, which stable-diffusion.cpp does not read",
            "convert it to F16",
            reason="UnknownFormat",
        )
    raise BrokenHeaderError(f"gives {quoted(name)} a dtype that safetensors does not have")


def _are_numbers(value: object) -> bool:
    return isinstance(value, list) and all(type(number) is int and 0 <= number <= _MAX_OFFSET for number in value)
