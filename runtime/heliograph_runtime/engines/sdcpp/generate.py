"""From a batch of the runtime to the library's order, and from its picture back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from heliograph_api.sampler_table import SAMPLERS
from heliograph_runtime.engines.protocol import Batch, Inputs, OnStep, Picture, Raster, Sampling
from heliograph_runtime.engines.sdcpp import binding
from heliograph_runtime.engines.sdcpp.known import Input
from heliograph_runtime.engines.sdcpp.options import LoadOptions
from heliograph_runtime.engines.sdcpp.orders import Order, Pixels
from heliograph_runtime.engines.sdcpp.prompts import check_prompt

_WAN_SHIFT = 5.0
"""What stable-diffusion.cpp shifts Wan's schedule by unless told."""
_FROM_TWO_STEPS = ("karras", "exponential", "gits")
"""Schedules that stable-diffusion.cpp (denoiser.hpp) can't make for one step."""
_LIBRARY_SAMPLERS = {row.name: row.sdcpp for row in SAMPLERS if row.sdcpp}


@dataclass(frozen=True)
class Loaded:
    """What drawing needs to know of a loaded model.

    Attributes:
        options: Options of the spec.
        guidance_scale: Scale where a request names none.
        distilled: Whether that is the guidance that the model was distilled with.
        high_noise: Noise level down to which another model draws the first steps of a clip; None without such a model.
        image_scale: Scale for the picture that the model follows; None where there is no such scale.
        follows: How the model gets the picture to change; None for one that starts from it.
        clip_layers: Layers that the model itself skips at CLIP's end, and one; None for a model without CLIP alone.
        latent_pixels: Pixels along the side of a place of the latents.
        loras: Files of the adapters.
        lora_weights: Weight of each where a request names none.
    """

    options: LoadOptions
    guidance_scale: float
    distilled: bool
    image_scale: float | None
    follows: Input | None
    high_noise: float | None
    clip_layers: int | None
    latent_pixels: int
    loras: Sequence[str] = ()
    lora_weights: Sequence[float] = ()


@dataclass
class _Watch:
    """Turns the library's progress into steps; keeps what `on_step` raises, since the library loses it.

    Attributes:
        shares: Steps of each model that draws, one after the other; the library counts those of each from 1.
    """

    shares: Sequence[int]
    on_step: OnStep
    preview_steps: Sequence[int]
    size: tuple[int, int]
    done: int = 0
    failure: BaseException | None = None
    shown: dict[int, Picture] = field(default_factory=dict)

    def progress(self, step: int, steps: int) -> None:
        """Tell of a step; the library tells of tiles and files here too, whose number is another in general."""
        begun = self.done
        for share in self.shares:
            if begun < share:
                break
            begun -= share
        else:
            return
        if self.failure or steps != share or step != begun + 1:
            return
        self.done += 1
        previews = [self.shown[step]] if step in self.shown else []
        self.shown.clear()
        try:
            self.on_step(self.done, sum(self.shares), previews)
        except BaseException as error:
            self.failure = error

    def preview(self, step: int, pixels: Pixels) -> None:
        """Keep the unfinished picture of a step that somebody wants to see, of which the library shows each latent."""
        if step in self.preview_steps:
            image = Image.frombytes("RGB", (pixels.width, pixels.height), pixels.data).resize(self.size)
            self.shown = {step: Picture(image.width, image.height, image.tobytes())}


def draw(context: binding.Context, loaded: Loaded, batch: Batch, on_step: OnStep) -> list[Picture]:
    """Return one picture or clip for each prompt of a batch, drawn one after the other.

    Raises:
        NativeError: The library can't draw one. Whatever `on_step` raises is raised once the library has returned.
    """
    pictures = []
    for place, order in enumerate(orders(loaded, batch)):
        part = _part_of(on_step, place, len(batch.prompts))
        shares = [order.high_noise_steps, batch.sampling.steps_taken - order.high_noise_steps]
        watch = _Watch(shares, part, batch.preview_steps, (order.width, order.height))
        on_preview = watch.preview if batch.preview_steps and len(batch.prompts) == 1 else None
        try:
            if order.frames:
                frames = context.film(order, on_progress=watch.progress)
            else:
                frames = [context.draw(order, on_progress=watch.progress, on_preview=on_preview)]
        finally:
            if watch.failure:
                raise watch.failure
        pixels = b"".join(frame.data for frame in frames)
        pictures.append(Picture(frames[0].width, frames[0].height, pixels, frames=len(frames)))
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
    use = "references" if sampling.mode == "reference" else loaded.follows or "init_image"
    guidance = loaded.guidance_scale if sampling.guidance_scale is None else sampling.guidance_scale
    tiling = loaded.options.tiling
    common: dict[str, Any] = {
        "width": sampling.width,
        "height": sampling.height,
        "steps": sampling.steps or 1,
        "cfg_scale": (sampling.true_cfg_scale or 1.0) if loaded.distilled else guidance,
        "distilled_guidance": guidance if loaded.distilled else None,
        "sample_method": sampling.sampler and binding.names("sample_method")[_LIBRARY_SAMPLERS[sampling.sampler]],
        "scheduler": _scheduler(loaded, sampling),
        "flow_shift": loaded.options.flow_shift,
        "frames": sampling.frames,
        "last_image": inputs.last_image and _pixels(inputs.last_image),
        "high_noise_steps": _high_noise_steps(loaded, sampling),
        "clip_skip": None if sampling.clip_skip is None else sampling.clip_skip + (loaded.clip_layers or 1),
        "strength": _strength(sampling),
        "image_scale": loaded.image_scale,
        "init_image": images[0] if images and use == "init_image" else None,
        "mask": _pixels(inputs.mask) if inputs.mask else None,
        "references": images if use == "references" else [],
        "control_image": images[0] if images and use == "control_image" else inputs.control and _pixels(inputs.control),
        "control_strength": sampling.control_strength,
        "loras": _loras(loaded, sampling),
        "tiling": tiling and (*tiling.latents(loaded.latent_pixels), tiling.overlap),
    }
    negative = batch.negative_prompts or ("",) * len(batch.prompts)
    for prompt, unwanted in zip(batch.prompts, negative, strict=True):
        check_prompt(prompt, field="prompt")
        check_prompt(unwanted, field="negative_prompt")
    return [
        Order(prompt=prompt, negative_prompt=unwanted, seed=seed, **common)
        for prompt, unwanted, seed in zip(batch.prompts, negative, batch.seeds, strict=True)
    ]


def _scheduler(loaded: Loaded, sampling: Sampling) -> int | None:
    """Return the library's number of the schedule; None for the model's own.

    One step goes from all noise to none by every formula, but the library divides by zero in some, and reads past the
    end of a table in another.
    """
    schedule = sampling.schedule or loaded.options.schedule
    if schedule in _FROM_TWO_STEPS and sampling.steps == 1:
        schedule = "discrete"
    return binding.names("scheduler")[schedule] if schedule else None


def _loras(loaded: Loaded, sampling: Sampling) -> list[tuple[str, float]]:
    weights = loaded.lora_weights if sampling.loras is None else sampling.loras
    return [(path, weight) for path, weight in zip(loaded.loras, weights, strict=True) if weight]


def _high_noise_steps(loaded: Loaded, sampling: Sampling) -> int:
    """Return how many steps begin at more noise than that down to which the model for high noise draws.

    They are spaced as the library's own schedule spaces them; at least one is left to the other model, without which
    the library ends the process.
    """
    if loaded.high_noise is None or not sampling.steps:
        return 0
    shift = _WAN_SHIFT if loaded.options.flow_shift is None else loaded.options.flow_shift
    time = loaded.high_noise / (shift - loaded.high_noise * (shift - 1))
    return min(math.floor(sampling.steps * (1 - time)) + 1, sampling.steps - 1)


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
