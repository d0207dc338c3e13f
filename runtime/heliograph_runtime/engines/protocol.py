"""What an engine is: it loads one ImageModel once, then draws batches of images from text.

Everything here crosses the pipe between the HTTP process and the worker as JSON, pixels aside.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from heliograph_api.spec import ImageModelSpec

OnStep = Callable[[int, int], None]
"""Called after each step with the number of steps done and the number of all; may raise to cancel the work."""


@dataclass(frozen=True)
class Capabilities:
    """What a loaded model can do, read off the model itself.

    Attributes:
        pipeline: Class that draws, such as StableDiffusionPipeline.
        device: Device that it runs on, such as cpu.
        dtype: Number type of the weights, such as float32.
        width: Native width in pixels.
        height: Native height in pixels.
        size_multiple: Width and height must be multiples of this many pixels.
        samplers: Names that `sampler` may have; empty when the model keeps its own.
        negative_prompt: Whether a negative prompt has a meaning.
        max_clip_skip: Most CLIP layers that can be skipped; None when they can't be.
        max_steps: Most steps that the model's noise schedule can be cut into.
        steps: The family's own number of steps; None when the pipeline has no such option.
        guidance_scale: The family's own guidance scale; None when the pipeline has no such option.
        sampler: The family's own sampler; None for the one that the model's files name.
    """

    pipeline: str
    device: str
    dtype: str
    width: int
    height: int
    size_multiple: int
    samplers: tuple[str, ...]
    negative_prompt: bool
    max_clip_skip: int | None
    max_steps: int
    steps: int | None
    guidance_scale: float | None
    sampler: str | None


@dataclass(frozen=True)
class Sampling:
    """What all images of one pipeline call have in common.

    Attributes:
        width: Width in pixels, a multiple of the model's `size_multiple`.
        height: Height in pixels, likewise.
        steps: Inference steps; None leaves them to the pipeline.
        guidance_scale: Guidance scale; None leaves it to the pipeline.
        sampler: One of the model's `samplers`; None for the one that the model's files name.
        clip_skip: CLIP layers to skip from the end; None for none.
    """

    width: int
    height: int
    steps: int | None
    guidance_scale: float | None
    sampler: str | None
    clip_skip: int | None


@dataclass(frozen=True)
class Batch:
    """Images to draw in one pipeline call.

    Attributes:
        sampling: What they have in common.
        prompts: One prompt for each image.
        negative_prompts: One negative prompt for each image, or None when none of them has one.
        seeds: One seed for each image, 0 to 2**32 - 1; an image depends on its own seed and not on its place.
    """

    sampling: Sampling
    prompts: tuple[str, ...]
    negative_prompts: tuple[str, ...] | None
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Picture:
    """One finished image: `width * height * 3` bytes of 8-bit RGB, row by row from the top left."""

    width: int
    height: int
    pixels: bytes


class LoadError(Exception):
    """A model that can't be loaded as it stands.

    Attributes:
        reason: One word in CamelCase for machines, such as UnsafeWeights.
        message: The field, the problem and the remedy, in one line.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class Engine(Protocol):
    """A way to run models; one instance serves one model and is called from one thread."""

    def load(self, spec: ImageModelSpec, *, models_dir: Path) -> Capabilities:
        """Load the model, once.

        Args:
            spec: The model's spec.
            models_dir: Folder in which the spec's relative paths are looked up; nothing outside it is read.

        Raises:
            LoadError: The model can't be loaded.
        """
        ...

    def generate(self, batch: Batch, on_step: OnStep) -> list[Picture]:
        """Return one picture for each prompt; what `on_step` raises passes through and leaves the engine usable."""
        ...
