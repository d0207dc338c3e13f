"""Weights files for stable-diffusion.cpp whose zeros take no room on the disk."""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = NDArray[np.float16]
Weights: TypeAlias = dict[str, Values | tuple[int, ...]]
"""Tensors by name, in PyTorch's order of axes; a bare shape stands for zeros."""

_BYTES = 2
_CHUNK = 2**15
_GGUF_VERSION = 3
_GGUF_ALIGNMENT = 32
_GGUF_STRING = 8


@dataclass(frozen=True)
class _Type:
    """A number type of ggml: its number, and how many elements take how many bytes."""

    number: int
    elements: int
    bytes: int


_F16 = _Type(1, 1, _BYTES)
_TQ2_0 = _Type(35, 256, 66)


def save_safetensors(path: Path, weights: Weights) -> None:
    """Write weights as a safetensors file of half precision."""
    header = {
        name: {"dtype": "F16", "shape": list(_shape(tensor)), "data_offsets": [start, start + _size(tensor)]}
        for name, tensor, start in _placed(weights, alignment=1)
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    _write(path, struct.pack("<Q", len(text)) + text, weights, alignment=1)


def save_gguf(path: Path, weights: Weights, *, architecture: str, ternary: bool = False) -> None:
    """Write weights as a GGUF file of half precision; with `ternary`, matrices of zeros have two bits a number.

    stable-diffusion.cpp keeps these as they are, so that the zeros take as little memory, and time.
    """
    metadata = _gguf_text("general.architecture") + struct.pack("<I", _GGUF_STRING) + _gguf_text(architecture)
    header = b"GGUF" + struct.pack("<IQQ", _GGUF_VERSION, len(weights), 1) + metadata
    for name, tensor, start in _placed(weights, alignment=_GGUF_ALIGNMENT, ternary=ternary):
        axes = _shape(tensor)[::-1]  # GGUF names the fastest axis first
        number = _type(tensor, ternary=ternary).number
        header += _gguf_text(name) + struct.pack(f"<I{len(axes)}QIQ", len(axes), *axes, number, start)
    header += bytes(-len(header) % _GGUF_ALIGNMENT)
    _write(path, header, weights, alignment=_GGUF_ALIGNMENT, ternary=ternary)


def _write(path: Path, header: bytes, weights: Weights, *, alignment: int, ternary: bool = False) -> None:
    end = 0
    with path.open("wb") as file:
        file.write(header)
        for _name, tensor, start in _placed(weights, alignment=alignment, ternary=ternary):
            end = start + _size(tensor, ternary=ternary)
            if not isinstance(tensor, tuple):
                _write_sparsely(file, len(header) + start, tensor)
        file.truncate(len(header) + end + -end % alignment)


def _write_sparsely(file: BinaryIO, start: int, tensor: Values) -> None:
    values = tensor.reshape(-1)
    for first in range(0, values.size, _CHUNK):
        chunk = values[first : first + _CHUNK]
        if chunk.any():
            file.seek(start + first * _BYTES)
            file.write(chunk.data)


def _placed(
    weights: Weights, *, alignment: int, ternary: bool = False
) -> Iterator[tuple[str, Values | tuple[int, ...], int]]:
    start = 0
    for name, tensor in weights.items():
        yield name, tensor, start
        start += _size(tensor, ternary=ternary)
        start += -start % alignment


def _shape(tensor: Values | tuple[int, ...]) -> tuple[int, ...]:
    return tensor if isinstance(tensor, tuple) else tensor.shape


def _size(tensor: Values | tuple[int, ...], *, ternary: bool = False) -> int:
    own = _type(tensor, ternary=ternary)
    return int(np.prod(_shape(tensor), dtype=np.int64)) // own.elements * own.bytes


def _type(tensor: Values | tuple[int, ...], *, ternary: bool) -> _Type:
    empty = isinstance(tensor, tuple) and len(tensor) == 2 and tensor[-1] % _TQ2_0.elements == 0
    return _TQ2_0 if ternary and empty else _F16


def _gguf_text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded
