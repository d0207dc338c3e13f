"""Weights files for stable-diffusion.cpp whose zeros take no room on the disk."""

import json
import struct
from collections.abc import Iterator
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
_GGML_F16 = 1


def save_safetensors(path: Path, weights: Weights) -> None:
    """Write weights as a safetensors file of half precision."""
    header = {
        name: {"dtype": "F16", "shape": list(_shape(tensor)), "data_offsets": [start, start + _size(tensor)]}
        for name, tensor, start in _placed(weights, alignment=1)
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    _write(path, struct.pack("<Q", len(text)) + text, weights, alignment=1)


def save_gguf(path: Path, weights: Weights, *, architecture: str) -> None:
    """Write weights as a GGUF file of half precision."""
    metadata = _gguf_text("general.architecture") + struct.pack("<I", _GGUF_STRING) + _gguf_text(architecture)
    header = b"GGUF" + struct.pack("<IQQ", _GGUF_VERSION, len(weights), 1) + metadata
    for name, tensor, start in _placed(weights, alignment=_GGUF_ALIGNMENT):
        axes = _shape(tensor)[::-1]  # GGUF names the fastest axis first
        header += _gguf_text(name) + struct.pack(f"<I{len(axes)}QIQ", len(axes), *axes, _GGML_F16, start)
    header += bytes(-len(header) % _GGUF_ALIGNMENT)
    _write(path, header, weights, alignment=_GGUF_ALIGNMENT)


def _write(path: Path, header: bytes, weights: Weights, *, alignment: int) -> None:
    end = 0
    with path.open("wb") as file:
        file.write(header)
        for _name, tensor, start in _placed(weights, alignment=alignment):
            end = start + _size(tensor)
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


def _placed(weights: Weights, *, alignment: int) -> Iterator[tuple[str, Values | tuple[int, ...], int]]:
    start = 0
    for name, tensor in weights.items():
        yield name, tensor, start
        start += _size(tensor)
        start += -start % alignment


def _shape(tensor: Values | tuple[int, ...]) -> tuple[int, ...]:
    return tensor if isinstance(tensor, tuple) else tensor.shape


def _size(tensor: Values | tuple[int, ...]) -> int:
    return int(np.prod(_shape(tensor), dtype=np.int64)) * _BYTES


def _gguf_text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded
