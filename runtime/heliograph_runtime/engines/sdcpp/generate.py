"""From a batch of the runtime to the library's order, and from its picture back."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from heliograph_api.sampler_table import SAMPLERS
from heliograph_runtime.engines.protocol import Batch, Inputs, OnStep, Picture, Raster, Sampling
from heliograph_runtime.engines.sdcpp import binding
from heliograph_runtime.engines.sdcpp.options import LoadOptions
from heliograph_runtime.engines.sdcpp.orders import Order, Pixels
from heliograph_runtime.engines.sdcpp.prompts import check_prompt

_LIBRARY_SAMPLERS = {row.name: row.sdcpp for row in SAMPLERS if row.sdcpp}


@dataclass(frozen=True)
class Loaded:
    """What drawing needs to know of a loaded model.

    Attributes:
        options: Options of the spec.
        guidance_scale: Scale where a request names none.
        distilled: Whether that is the guidance that the model was distilled with.
        clip_layers: Layers that the model itself skips at CLIP's end, and one; None for a model without CLIP alone.
        loras: Files of the adapters.
        lora_weights: Weight of each where a request names none.
    """

    options: LoadOptions
    guidance_scale: float
    distilled: bool
    clip_layers: int | None
    loras: Sequence[str] = ()
    lora_weights: Sequence[float] = ()


@dataclass
class _Watch:
    """Turns the library's progress into steps; keeps what `on_step` raises, since the library loses it."""

    expected: int
    on_step: OnStep
    preview_steps: Sequence[int]
    size: tuple[int, int]
    done: int = 0
    failure: BaseException | None = None
    shown: dict[int, Picture] = field(default_factory=dict)

    def progress(self, step: int, steps: int) -> None:
        """Tell of a step; the library tells of tiles and files here too, whose number is another in general."""
        if self.failure or steps != self.expected or step != self.done + 1:
            return
        self.done = step
        previews = [self.shown[step]] if step in self.shown else []
        self.shown.clear()
        try:
            self.on_step(step, steps, previews)
        except BaseException as error:
            self.failure = error

    def preview(self, step: int, pixels: Pixels) -> None:
        """Keep the unfinished picture of a step that somebody wants to see, of which the library shows each latent."""
        if step in self.preview_steps:
            image = Image.frombytes("RGB", (pixels.width, pixels.height), pixels.data).resize(self.size)
            self.shown = {step: Picture(image.width, image.height, image.tobytes())}


def draw(context: binding.Context, loaded: Loaded, batch: Batch, on_step: OnStep) -> list[Picture]:
    """Return one picture for each prompt of a batch, drawn one after the other.

    Raises:
        NativeError: The library can't draw one. Whatever `on_step` raises is raised once the library has returned.
    """
    pictures = []
    for place, order in enumerate(orders(loaded, batch)):
        part = _part_of(on_step, place, len(batch.prompts))
        watch = _Watch(batch.sampling.steps_taken, part, batch.preview_steps, (order.width, order.height))
        on_preview = watch.preview if batch.preview_steps and len(batch.prompts) == 1 else None
        try:
            pixels = context.draw(order, on_progress=watch.progress, on_preview=on_preview)
        finally:
            if watch.failure:
                raise watch.failure
        pictures.append(Picture(pixels.width, pixels.height, pixels.data))
    return pictures


def enlarge(upscaler: binding.Upscaler, batch: Batch, on_step: OnStep) -> list[Picture]:
    """Return the picture of a batch made larger by the factor that it asks for, once for each prompt.

    The model has a factor of its own; the way from there to another one is Lanczos'.

    Raises:
        NativeError: The library can't enlarge it.
    """
    (raster,) = (batch.inputs or Inputs()).images
    pixels = upscaler.enlarge(_pixels(raster))
    on_step(1, 1, ())
    factor = batch.sampling.upscale or upscaler.factor
    image = Image.frombytes("RGB", (pixels.width, pixels.height), pixels.data)
    image = image.resize((raster.width * factor, raster.height * factor), Image.Resampling.LANCZOS)
    return [Picture(image.width, image.height, image.tobytes())] * len(batch.prompts)


def orders(loaded: Loaded, batch: Batch) -> list[Order]:
    """Return what the library is asked to draw, one order for each prompt.

    Raises:
        RefusedError: A prompt would end the process.
    """
    sampling, inputs = batch.sampling, batch.inputs or Inputs()
    images = [_pixels(image) for image in inputs.images]
    changes = sampling.mode in {"image", "inpaint"}
    guidance = loaded.guidance_scale if sampling.guidance_scale is None else sampling.guidance_scale
    schedule = sampling.schedule or loaded.options.schedule
    common: dict[str, Any] = {
        "width": sampling.width,
        "height": sampling.height,
        "steps": sampling.steps or 1,
        "cfg_scale": (sampling.true_cfg_scale or 1.0) if loaded.distilled else guidance,
        "distilled_guidance": guidance if loaded.distilled else None,
        "sample_method": sampling.sampler and binding.names("sample_method")[_LIBRARY_SAMPLERS[sampling.sampler]],
        "scheduler": schedule and binding.names("scheduler")[schedule],
        "flow_shift": loaded.options.flow_shift,
        "clip_skip": None if sampling.clip_skip is None else sampling.clip_skip + (loaded.clip_layers or 1),
        "strength": _strength(sampling),
        "init_image": images[0] if images and changes else None,
        "mask": _pixels(inputs.mask) if inputs.mask else None,
        "references": images if sampling.mode == "reference" else [],
        "control_image": _pixels(inputs.control) if inputs.control else None,
        "control_strength": sampling.control_strength,
        "loras": _loras(loaded, sampling),
        "tiling": loaded.options.tiling,
    }
    negative = batch.negative_prompts or ("",) * len(batch.prompts)
    for prompt, unwanted in zip(batch.prompts, negative, strict=True):
        check_prompt(prompt, field="prompt")
        check_prompt(unwanted, field="negative_prompt")
    return [
        Order(prompt=prompt, negative_prompt=unwanted, seed=seed, **common)
        for prompt, unwanted, seed in zip(batch.prompts, negative, batch.seeds, strict=True)
    ]


def _loras(loaded: Loaded, sampling: Sampling) -> list[tuple[str, float]]:
    weights = loaded.lora_weights if sampling.loras is None else sampling.loras
    return [(path, weight) for path, weight in zip(loaded.loras, weights, strict=True) if weight]


def _strength(sampling: Sampling) -> float | None:
    """Return the strength to have `steps_taken`; the library takes one more than the part that it is told."""
    if sampling.steps is None or sampling.strength is None or sampling.strength >= 1:
        return sampling.strength
    return (sampling.steps_taken - 0.5) / sampling.steps


def _part_of(on_step: OnStep, place: int, pictures: int) -> OnStep:
    """Return what tells `on_step` of the steps of all pictures of a batch."""
    if pictures == 1:
        return on_step

    def tell(done: int, steps: int, _previews: Sequence[Picture]) -> None:
        on_step((place * steps + done) // pictures, steps, ())

    return tell


def _pixels(raster: Raster) -> Pixels:
    return Pixels(raster.width, raster.height, raster.channels, raster.pixels)
