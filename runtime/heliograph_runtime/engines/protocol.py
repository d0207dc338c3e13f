"""What an engine is: it loads one ImageModel once, then draws batches of pictures or clips.

Everything here crosses the pipe between the HTTP process and the worker as JSON, pixels aside.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from heliograph_api.spec import ImageModelSpec

Mode = Literal["text", "image", "inpaint", "reference", "upscale"]
"""What a picture is drawn from: text alone; a picture that is changed; one whose masked part is; pictures that the
prompt refers to; a picture that is only made larger."""


MAX_REFERENCES = 10
"""Pictures that a prompt can refer to. The makers of models that take several name no limit; FLUX.2's API takes as
many."""
MAX_FRAMES = 257
"""Frames of a clip. More are beyond what any model was trained for: LTX-Video, the longest, makes so many."""


@dataclass(frozen=True)
class ModeCapabilities:
    """What a loaded model can do in one mode.

    Attributes:
        pipeline: Class that draws, such as StableDiffusionImg2ImgPipeline.
        prompt: Whether it takes a prompt; one that does needs it.
        negative_prompt: Whether a negative prompt has an effect.
        strength: Strength where nothing names one; None when there is no such option.
        sized: Whether the size can be chosen; else the result has the size that the inputs give it.
        max_images: Most input pictures that it uses; 0 in mode text.
        batches: Whether several prompts can be drawn in one call.
        control: Whether a control image can be given.
        control_lacks: Fields of a request that have no effect beside a control image, though they have one without.
    """

    pipeline: str
    prompt: bool = True
    negative_prompt: bool = True
    strength: float | None = None
    sized: bool = True
    max_images: int = 0
    batches: bool = True
    control: bool = False
    control_lacks: tuple[str, ...] = ()


@dataclass(frozen=True)
class VideoCapabilities:
    """What a model that draws clips can do.

    Attributes:
        frames: Frames where nothing names a number.
        frames_multiple: `frames - 1` must be a multiple of this.
        max_frames: Most frames of a clip.
        fps: Frames for each second where nothing names a number.
        last_image: Whether a picture of the last frame can be given.
        min_frames: Fewest frames of a clip.
    """

    frames: int
    frames_multiple: int
    max_frames: int
    fps: int
    last_image: bool
    min_frames: int = 1


@dataclass(frozen=True)
class Capabilities:
    """What a loaded model can do, read off the model itself.

    Attributes:
        family: What the model is of, for people: a family of stable-diffusion.cpp, or a pipeline of diffusers.
        modes: What can be done in each mode, at least one; of image and reference the one that a picture is for first.
        device: Device that it runs on, such as cpu.
        dtype: Number type of the weights, such as float32.
        width: Native width in pixels.
        height: Native height in pixels.
        size_multiple: Width and height must be multiples of this many pixels.
        max_pixels: Most pixels of one picture that the device's memory allows; None when nothing says so.
        samplers: Names that `sampler` may have, as in `heliograph_api.samplers`; empty when the model keeps its own.
        schedules: Names that `schedule` may have; empty when the model keeps its own.
        max_clip_skip: Most CLIP layers that can be skipped; None when they can't be.
        max_steps: Most steps that the model's noise schedule can be cut into.
        steps: The family's own number of steps; None when the pipeline has no such option.
        guidance_scale: The family's own guidance scale; None when the pipeline has no such option.
        distilled_guidance: Whether `guidance_scale` is the guidance that the model was distilled with (FLUX.1).
        true_cfg_scale: The family's own classifier-free scale beside it; None when the pipeline has no such option.
        sampler: The family's own sampler; None for the one that the model's files name.
        loras: Names of the adapters that a request may weigh, in the order of the spec.
        previews: Whether unfinished pictures can be shown.
        video: What holds for clips; None when pictures are drawn.
        cfg_scale_is_true: Whether `cfg_scale` is the classifier-free scale even where there is a distilled guidance, as
            in llama-box and in LocalAI's backend for stable-diffusion.cpp.
        stops_at_step: Whether drawing stops where `on_step` raises; else it goes on to its end, and only the end of the
            process stops it.
    """

    family: str
    modes: Mapping[Mode, ModeCapabilities]
    device: str
    dtype: str
    width: int
    height: int
    size_multiple: int
    max_pixels: int | None
    samplers: tuple[str, ...]
    schedules: tuple[str, ...]
    max_clip_skip: int | None
    max_steps: int
    steps: int | None
    guidance_scale: float | None
    distilled_guidance: bool
    true_cfg_scale: float | None
    sampler: str | None
    loras: tuple[str, ...]
    previews: bool
    video: VideoCapabilities | None
    cfg_scale_is_true: bool = False
    stops_at_step: bool = True


@dataclass(frozen=True)
class DeviceMemory:
    """What is in use of the memory of the GPUs that a model is on, by whatever uses them.

    Attributes:
        device: Name of the first GPU.
        devices: Number of GPUs.
        used: Bytes in use.
        total: Bytes in all.
    """

    device: str
    devices: int
    used: int
    total: int


@dataclass(frozen=True)
class Sampling:
    """What all pictures of one pipeline call have in common, input pictures aside.

    Attributes:
        mode: What is drawn from.
        width: Width in pixels, a multiple of the model's `size_multiple`.
        height: Height in pixels, likewise.
        steps: Inference steps; None leaves them to the pipeline.
        guidance_scale: Guidance scale; None leaves it to the pipeline.
        true_cfg_scale: Classifier-free scale beside a distilled one; None leaves it to the pipeline.
        sampler: One of the model's `samplers`; None for the one that the model's files name.
        schedule: One of the model's `schedules`; None for the model's own.
        clip_skip: CLIP layers to skip from the end; None for none.
        strength: How much of an input picture is drawn anew, 0 to 1; None without one.
        control_strength: Weight of the control image; None without one.
        loras: One weight for each of the model's `loras`; None for those of the spec.
        frames: Frames of a clip; None for a picture.
        fps: Frames for each second of a clip, where the pipeline reads it; None for a picture.
        upscale: Factor by which the picture is made larger, in mode upscale.
    """

    mode: Mode
    width: int
    height: int
    steps: int | None = None
    guidance_scale: float | None = None
    true_cfg_scale: float | None = None
    sampler: str | None = None
    schedule: str | None = None
    clip_skip: int | None = None
    strength: float | None = None
    control_strength: float | None = None
    loras: tuple[float, ...] | None = None
    frames: int | None = None
    fps: int | None = None
    upscale: int | None = None

    @property
    def steps_taken(self) -> int:
        """Return how many steps are really taken: with a strength that part of them; 0 if nobody knows."""
        if self.steps is None:
            return 0
        return self.steps if self.strength is None else int(self.steps * self.strength)


@dataclass(frozen=True, eq=False)
class Raster:
    """An input picture: `width * height * channels` bytes, row by row from the top left.

    Attributes:
        width: Width in pixels.
        height: Height in pixels.
        channels: 3 for RGB; 1 for a mask, where 255 is drawn anew and 0 is kept.
        pixels: The bytes.
    """

    width: int
    height: int
    channels: Literal[1, 3]
    pixels: bytes


@dataclass(frozen=True, eq=False)
class Inputs:
    """The input pictures of one request; two of these are the same only if they are one object.

    Attributes:
        images: In mode image and inpaint the picture to change, of the size to draw; in mode reference and upscale the
            pictures as they came, at most as large as the model's limits allow.
        mask: What to draw anew, of the same size; in mode inpaint only.
        control: The control image, of the size to draw.
        last_image: Picture of a clip's last frame.
    """

    images: tuple[Raster, ...] = ()
    mask: Raster | None = None
    control: Raster | None = None
    last_image: Raster | None = None


@dataclass(frozen=True)
class Batch:
    """Pictures or clips to draw in one pipeline call.

    Attributes:
        sampling: What they have in common.
        prompts: One prompt for each.
        negative_prompts: One negative prompt for each, or None when none of them has one.
        seeds: One seed for each, 0 to 2**32 - 1; a picture depends on its own seed and not on its place.
        inputs: Input pictures that all of them are drawn from; None in mode text without a control image.
        preview_steps: Steps, counted from 1, after which unfinished pictures are shown.
    """

    sampling: Sampling
    prompts: tuple[str, ...]
    negative_prompts: tuple[str, ...] | None
    seeds: tuple[int, ...]
    inputs: Inputs | None = None
    preview_steps: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Picture:
    """One finished picture, or a clip of several frames.

    Attributes:
        width: Width in pixels.
        height: Height in pixels.
        pixels: `frames * width * height * 3` bytes of 8-bit RGB, frame by frame, row by row from the top left.
        frames: 1 for a picture.
    """

    width: int
    height: int
    pixels: bytes
    frames: int = 1

    @property
    def area(self) -> int:
        """Return the number of pixels, those of all frames together."""
        return self.frames * self.width * self.height


OnStep = Callable[[int, int, Sequence[Picture]], None]
"""Called after each step with the number of steps done, the number of all, and after a preview step the unfinished
picture of each prompt (else nothing); may raise to cancel the work."""


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


class RefusedError(Exception):
    """A request that can't be drawn for a reason that only the engine could see.

    Attributes:
        field: The request's field.
        problem: What is wrong with it and the remedy, without the field's name.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class OutOfMemoryError(Exception):
    """The device's memory does not suffice for a batch of one; the engine is usable afterwards."""


class DeviceLostError(Exception):
    """The device is in a state from which only a new process recovers."""


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
        """Return one picture or clip for each prompt; what `on_step` raises passes and leaves the engine usable.

        Raises:
            RefusedError: A prompt is not one that the model can read.
            OutOfMemoryError: Even one picture at a time does not fit.
            DeviceLostError: The process must end.
        """
        ...

    def memory(self) -> DeviceMemory | None:
        """Return what is in use of the GPUs that the loaded model is on; None on a CPU, or where nothing tells."""
        ...
