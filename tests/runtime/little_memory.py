"""Draws with the tiny model where memory is short: a process of its own, so that its limits harm nobody else.

Writes as JSON how many pictures were tried at once, what came of it, and whether the model still draws as before.
"""

import json
import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch

from heliograph_runtime.engines.diffusers.placement import place, set_decoding
from heliograph_runtime.engines.diffusers.recovery import draw_within_memory, release
from heliograph_runtime.engines.protocol import Batch, OutOfMemoryError, Picture, Sampling


class TinyModel:
    """The tiny model, with a note of how many pictures it was told to draw at once."""

    def __init__(self, folder: Path) -> None:
        pipeline_class: Any = diffusers.StableDiffusionPipeline
        self.pipeline = pipeline_class.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
        self.pipeline.set_progress_bar_config(disable=True)
        # Larger tiles than the model's own, of which 640x640 would be 49, so that it takes seconds.
        self.pipeline.vae.tile_sample_min_size, self.pipeline.vae.tile_latent_min_size = 320, 40
        self.tried: list[int] = []
        place(self.pipeline, device="cpu", strategy="resident")

    def draw(self, batch: Batch, _on_step: object, frugal: bool) -> list[Picture]:
        self.tried.append(len(batch.prompts))
        set_decoding(self.pipeline, tiled=frugal, one_by_one=frugal)
        images = self.pipeline(
            list(batch.prompts),
            width=batch.sampling.width,
            height=batch.sampling.height,
            num_inference_steps=1,
            generator=[torch.Generator().manual_seed(seed) for seed in batch.seeds],
        ).images
        return [Picture(image.width, image.height, image.tobytes()) for image in images]

    def release(self) -> None:
        release(self.pipeline)


def pictures(count: int, *, size: int) -> Batch:
    return Batch(Sampling("text", size, size), ("a red circle",) * count, None, tuple(range(count)))


def draw_with(model: TinyModel, batch: Batch, *, spare_bytes: int) -> dict[str, Any]:
    """Draw a batch with so many bytes to spare beyond what the process has."""
    small = pictures(1, size=64)
    before = model.draw(small, on_step, False)[0].pixels
    model.tried.clear()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + spare_bytes, resource.RLIM_INFINITY))
    try:
        drawn = draw_within_memory(model.draw, batch, on_step, at_once=len(batch.prompts), recover=model.release)
        outcome = f"{len({picture.pixels for picture in drawn})} different pictures"
    except OutOfMemoryError as error:
        outcome = str(error)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    tried = model.tried.copy()
    after = model.draw(small, on_step, False)[0].pixels
    return {"tried": tried, "outcome": outcome, "draws_as_before": after == before}


def on_step(_done: int, _steps: int, _previews: Sequence[Picture]) -> None:
    pass


def main(folder: Path) -> None:
    """Draw four pictures: of a size of which not even one fits, then of one of which one fits and two do not.

    A step takes 58 MiB for a picture of 640x640; up to 40 MiB beyond what is spared may turn out to be free.
    """
    model = TinyModel(folder)
    model.draw(pictures(1, size=640), on_step, True)  # what a first call keeps
    model.release()
    found = [
        draw_with(model, pictures(4, size=1280), spare_bytes=0),
        draw_with(model, pictures(4, size=640), spare_bytes=70 << 20),
    ]
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
