"""Values of the chart that some tests need, beside the default ones."""

from pathlib import Path
from typing import Any

import yaml

import image_recipes
from node.models import EXAMPLES

MISSING_IMAGE = "heliograph-runtime-nowhere:0"
_CPU_IMAGES = {
    engine: f"heliograph-runtime-{engine}:{image_recipes.version(EXAMPLES.parent)}" for engine in ("diffusers", "sdcpp")
}
"""What runs where the node only says that it has GPUs."""
VALUES: dict[str, Any] = {
    "operator": {"handover": {"residenceSeconds": 1}, "autoscaling": {"seconds": 1}},
    "runtime": {
        "gpuProfile": {"gpuResource": "nvidia.com/gpu", "images": _CPU_IMAGES},
        "profiles": {"imageless": {"images": {"sdcpp": MISSING_IMAGE}}},
    },
}
"""The fewest seconds between two hand-overs, and a profile whose image is nowhere."""


def values_file(folder: Path, values: dict[str, Any]) -> Path:
    """Write a file for `helm --values` and return its path."""
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    return path
