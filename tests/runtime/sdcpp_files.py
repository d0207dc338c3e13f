"""Writers of GGUF and safetensors headers, with data of zeros that take no room on the disk."""

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heliograph_runtime.engines.sdcpp.tensors import BLOCKS, Header, TensorInfo

Shapes = Mapping[str, Sequence[int]]

TYPE_NUMBERS = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 8, "q4_k": 12, "i32": 26, "bf16": 30}
DTYPES = {"F32": 4, "F16": 2, "BF16": 2, "F64": 8, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "I8": 1}


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def entry(key: str | bytes, kind: int, value: bytes) -> bytes:
    """Return an entry of GGUF's metadata."""
    return text(key) + struct.pack("<I", kind) + value


def tensor(
    name: str | bytes, shape: Sequence[int] = (32,), *, kind: int = 0, offset: int = 0, dimensions: int | None = None
) -> bytes:
    """Return the description of a tensor in GGUF; the shape in PyTorch's order."""
    count = len(shape) if dimensions is None else dimensions
    return text(name) + struct.pack("<I", count) + struct.pack(f"<{len(shape)}QIQ", *reversed(shape), kind, offset)


@dataclass(frozen=True)
class Gguf:
    """A GGUF file by its parts, any of which can lie."""

    tensors: Sequence[bytes] = ()
    entries: Sequence[bytes] = ()
    data: int = 128
    magic: bytes = b"GGUF"
    version: int = 3
    tensor_count: int | None = None
    entry_count: int | None = None
    alignment: int = 32
    tail: bytes = field(default=b"")

    def header(self) -> bytes:
        tensors = len(self.tensors) if self.tensor_count is None else self.tensor_count
        entries = len(self.entries) if self.entry_count is None else self.entry_count
        counts = struct.pack("<IQQ", self.version, tensors, entries)
        return self.magic + counts + b"".join(self.entries) + b"".join(self.tensors) + self.tail

    def write(self, path: Path) -> Path:
        raw = self.header()
        return sparse(path, raw + b"\0" * (-len(raw) % self.alignment), self.data)


def sparse(path: Path, header: bytes, data: int) -> Path:
    """Write a header, and after it a hole as long as the data."""
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + data)
    return path


def write_gguf(path: Path, shapes: Shapes, *, kind: str = "f16") -> Path:
    """Write a sound GGUF file; vectors are f32, as its writers have them."""
    described, end = [], 0
    for name, shape in shapes.items():
        own = "f32" if len(shape) < 2 else kind
        described.append(tensor(name, shape, kind=TYPE_NUMBERS[own], offset=end))
        block, size = BLOCKS[own]
        end += -(-math.prod(shape) // block * size // 32) * 32
    return Gguf(described, [entry("general.architecture", 8, text("diffusion"))], end).write(path)


def safetensors_header(content: object) -> bytes:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(raw)) + raw


def write_safetensors(
    path: Path, shapes: Shapes, *, dtype: str = "F16", metadata: Mapping[str, str] | None = None
) -> Path:
    """Write a sound safetensors file."""
    content: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    end = 0
    for name, shape in shapes.items():
        size = math.prod(shape) * DTYPES[dtype]
        content[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    return sparse(path, safetensors_header(content), end)


def header_of(shapes: Shapes, *, kind: str = "f16") -> Header:
    """Return the header that a file with these tensors has."""
    block, size = BLOCKS[kind]
    tensors = {name: TensorInfo(tuple(s), kind, math.prod(s) // block * size) for name, s in shapes.items()}
    return Header("safetensors", tensors, {})
