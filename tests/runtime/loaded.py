"""Small pipelines as diffusers loads them, and pictures that they draw."""

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from numpy.typing import NDArray

from runtime.runtimes import EXAMPLES


def load_tiny() -> Any:
    """Return the trained tiny model."""
    return load("StableDiffusionPipeline", EXAMPLES / "tiny-model/model")


def load(class_name: str, folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """Return a pipeline in main memory."""
    pipeline = getattr(diffusers, class_name).from_pretrained(folder, dtype=dtype, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw(pipeline: Any, *, pictures: int = 1, width: int = 64, height: int = 64) -> NDArray[np.float32]:
    """Return pictures as numbers from 0 to 1, with the seeds 0, 1, ..."""
    drawn = pipeline(
        ["a red circle on a white background"] * pictures,
        width=width,
        height=height,
        num_inference_steps=3,
        generator=[torch.Generator().manual_seed(seed) for seed in range(pictures)],
        output_type="np",
    )
    images: NDArray[np.float32] = drawn.images
    return images


def difference(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return the largest difference of two pictures in any channel of any pixel."""
    return float(np.abs(first - second).max())
