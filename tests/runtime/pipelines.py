"""Pipelines of diffusers in this process, without an engine around them."""

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from numpy.typing import NDArray

from runtime.runtimes import EXAMPLES

TINY_FOLDER = EXAMPLES / "tiny-model/model"


def load_pipeline(folder: Path = TINY_FOLDER) -> Any:
    """Return the pipeline of a folder in single precision, as a CPU runs it."""
    pipeline_class: Any = diffusers.DiffusionPipeline
    pipeline = pipeline_class.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw(pipeline: Any, *seeds: int, **arguments: Any) -> NDArray[np.float32]:
    """Return what a pipeline draws from each seed, of shape (seeds, height, width, 3) in 0 to 1."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return np.asarray(pipeline(generator=generators, output_type="np", **arguments).images)
