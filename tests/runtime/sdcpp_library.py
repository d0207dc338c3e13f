"""stable-diffusion.cpp without what the engine checks before: in a process of its own, which it may end."""

import ctypes
import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

_DRAW = """
import json, sys
from heliograph_runtime.engines.sdcpp import binding
from heliograph_runtime.engines.sdcpp.orders import Order

settings, loras, embeddings, upscaler = json.loads(sys.argv[1])
if upscaler:
    binding.Upscaler(upscaler, threads=1)
context = binding.Context(settings, embeddings=embeddings)
order = Order("a word", "", 64, 64, 1, 1.0, 1, loras=[(path, 1.0) for path in loras])
context.draw(order, on_progress=lambda *_: None)
"""
_CONVERT = "_Z19convert_tensor_nameNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE9SDVersion"
_SHORT = 15
_VERSIONS: Mapping[str, int] = {
    "sd1": 0, "sd2": 4, "sdxl": 9, "sd3-medium": 15, "flux-dev": 16, "qwen-image": 24, "anima": 25, "flux2": 26,
    "z-image": 28,
}  # fmt: skip
"""`SDVersion` of `model.h` by family."""


def ends(
    settings: Mapping[str, Any],
    *,
    loras: list[str] | None = None,
    embeddings: list[tuple[str, str]] | None = None,
    upscaler: str | None = None,
) -> bool:
    """Return whether loading these files and drawing with them ends the process by a signal."""
    order = json.dumps([settings, loras or [], embeddings or [], upscaler])
    done = subprocess.run([sys.executable, "-c", _DRAW, order], capture_output=True, timeout=120, check=False)
    return done.returncode < 0


class _Text(ctypes.Structure):
    """A `std::string` of libstdc++; its text lies in it where it is short."""

    _fields_ = [("text", ctypes.c_void_p), ("size", ctypes.c_size_t), ("room", ctypes.c_size_t), ("_", ctypes.c_size_t)]


def library_name(library: Any, name: str, family: str) -> str | None:
    """Return what the library calls a tensor; None for a name too short to be read out of what it returns."""
    libc = ctypes.CDLL(None)
    libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    convert = library[_CONVERT]
    convert.argtypes, convert.restype = [ctypes.POINTER(_Text), ctypes.c_int], _Text
    raw = name.encode()
    room = max(len(raw), 2 * _SHORT)
    text = libc.malloc(room + 1)  # the library frees it where it needs more room
    ctypes.memmove(text, raw + b"\0", len(raw) + 1)
    result = convert(ctypes.byref(_Text(text, len(raw), room, 0)), _VERSIONS[family])
    return ctypes.string_at(result.text, result.size).decode() if result.size > _SHORT else None
