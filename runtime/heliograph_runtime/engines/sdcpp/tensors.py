"""What the header of a file of weights tells, whatever its format, and how a broken one is blamed."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

BLOCKS: Mapping[str, tuple[int, int]] = {
    "f32": (1, 4), "f16": (1, 2), "bf16": (1, 2), "f64": (1, 8),
    "f8_e4m3": (1, 1), "f8_e5m2": (1, 1), "u8": (1, 1),
    "i8": (1, 1), "i16": (1, 2), "i32": (1, 4), "i64": (1, 8),
    "q4_0": (32, 18), "q4_1": (32, 20), "q5_0": (32, 22), "q5_1": (32, 24), "q8_0": (32, 34), "q8_1": (32, 36),
    "q2_k": (256, 84), "q3_k": (256, 110), "q4_k": (256, 144), "q5_k": (256, 176), "q6_k": (256, 210),
    "q8_k": (256, 292), "iq2_xxs": (256, 66), "iq2_xs": (256, 74), "iq3_xxs": (256, 98), "iq1_s": (256, 50),
    "iq4_nl": (32, 18), "iq3_s": (256, 110), "iq2_s": (256, 82), "iq4_xs": (256, 136), "iq1_m": (256, 56),
    "tq1_0": (256, 54), "tq2_0": (256, 66), "mxfp4": (32, 17), "nvfp4": (64, 36),
}  # fmt: skip
"""Elements of a block, and its bytes, by type; source: ggml's `ggml-common.h`."""

MAX_DIMENSIONS = 5
"""Most dimensions of a tensor: `SD_MAX_DIMS` of stable-diffusion.cpp. ggml has four; Wan's patch embedding has five."""
_SHOWN = 80


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a file.

    Attributes:
        shape: Its shape in PyTorch's order, the fastest dimension last.
        type: Its type in lower case, such as f16 or q4_0.
        bytes: What its data take in the file.
    """

    shape: tuple[int, ...]
    type: str
    bytes: int


@dataclass(frozen=True)
class Header:
    """The header of one file of weights.

    Attributes:
        format: The file's format, told by its content.
        tensors: The tensors by name.
        metadata: What the file says of itself in single values; lists and long texts are left out.
    """

    format: Literal["gguf", "safetensors"]
    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str | int | float | bool]


class BrokenHeaderError(Exception):
    """A file that can't be used.

    Attributes:
        problem: What is wrong, as the rest of a sentence whose subject is the file.
        remedy: What to do about it.
        reason: One word in CamelCase for machines.
    """

    def __init__(self, problem: str, remedy: str = "fetch the file again", *, reason: str = "CorruptWeights") -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy
        self.reason = reason


def quoted(text: str) -> str:
    """Return text that a file brought so that it can stand in a message: in ASCII, on one line, not too long."""
    return ascii(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def elements(shape: Iterable[int]) -> int:
    """Return the number of elements of a shape."""
    return math.prod(shape)


def data_bytes(shape: tuple[int, ...], kind: str) -> int:
    """Return the bytes of a tensor whose rows are whole blocks of its type."""
    block, size = BLOCKS[kind]
    return elements(shape) // block * size


def check_regions(regions: Iterable[tuple[int, int, str]], *, end: int, gaps: bool) -> None:
    """Raise `BrokenHeaderError` unless the data of all tensors lie inside the file, and apart.

    Args:
        regions: Start, end and name of each tensor's data, counted from the first byte of the data.
        end: Where the file's data end.
        gaps: Whether there may be bytes that belong to no tensor.
    """
    position = 0
    for start, stop, name in sorted(regions):
        if start < position:
            raise BrokenHeaderError(f"stores the data of {quoted(name)} over those of another tensor")
        if start > position and not gaps:
            raise BrokenHeaderError(f"has a hole before the data of {quoted(name)}")
        if stop > end:
            raise BrokenHeaderError(f"ends within the data of {quoted(name)}")
        position = stop
    if position < end and not gaps:
        raise BrokenHeaderError("holds data that belong to no tensor")
