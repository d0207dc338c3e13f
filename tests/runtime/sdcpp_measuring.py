"""One picture drawn in a process of its own, and the memory that took."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_DRAW = """
import json, sys
from pathlib import Path
from heliograph_api.spec import parse_spec
from heliograph_runtime.engines.protocol import Batch, Sampling
from heliograph_runtime.engines.sdcpp.engine import SdcppEngine

spec, folder, size = parse_spec(json.loads(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3])
engine = SdcppEngine()
engine.load(spec, models_dir=folder)
sampling = Sampling("text", size, size, steps=1, guidance_scale=float(sys.argv[4]))
(picture,) = engine.generate(Batch(sampling, ("a",), None, (1,)), lambda *_: None)
memory = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
print(picture.width, picture.height, len(set(picture.pixels)), memory)
"""
_KIB = 1024


@dataclass(frozen=True)
class Measured:
    """What was drawn.

    Attributes:
        size: Width and height of the picture.
        values: How many values its pixels have.
        memory: The most bytes of main memory that the process held at once.
    """

    size: tuple[int, int]
    values: int
    memory: int


def measure(spec: Mapping[str, Any], folder: Path, *, size: int, guidance_scale: float = 1.0) -> Measured:
    """Load a model, draw a square picture in one step, and return what that took."""
    command = [sys.executable, "-c", _DRAW, json.dumps(spec), str(folder), str(size), str(guidance_scale)]
    last = subprocess.check_output(command, text=True, timeout=240).splitlines()[-1]
    width, height, values, memory = map(int, last.split())
    return Measured((width, height), values, memory * _KIB)
