"""One pipeline call: a batch of prompts in, pictures or clips out."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch

from heliograph_runtime.engines.diffusers import following, previews
from heliograph_runtime.engines.diffusers.arguments import (
    FPS,
    FRAMES,
    GUIDANCE,
    call_parameters,
    number,
    spelling,
)
from heliograph_runtime.engines.diffusers.inputs import fit_results, image_arguments
from heliograph_runtime.engines.diffusers.pictures import to_clip, to_picture
from heliograph_runtime.engines.diffusers.progress import Progress, Show
from heliograph_runtime.engines.diffusers.prompts import encode_prompts
from heliograph_runtime.engines.diffusers.schedulers import make_scheduler
from heliograph_runtime.engines.protocol import Batch, OnStep, Picture, Sampling

# Tokens of the longer text encoder: what FLUX.1-schnell allows at most, and LocalAI passes to all of FLUX.1.
_FLUX_TOKENS = 256
# Frames that SVD decodes at once: LocalAI's number. All at once take several times the memory of the rest of the call.
_FRAMES_DECODED = 8
# They take the kind of the control image for each picture; FLUX.1's pipeline for text repeats one and refuses a list.
_MODE_FOR_EACH = ("FluxControlNetImg2Img", "FluxControlNetInpaint")


def draw(pipeline: Any, batch: Batch, on_step: OnStep, *, options: Mapping[str, Any], weighting: bool) -> list[Picture]:
    """Return one picture or clip for each prompt of a batch; the pipeline is left as it was, whatever happens.

    Each has a generator of its own on the CPU, so that it is the same alone and in a batch, and on every device.

    Args:
        pipeline: The pipeline.
        batch: What to draw.
        on_step: Called after each step.
        options: Further keyword arguments of the call; those that the pipeline lacks are left out.
        weighting: Whether brackets in prompts are weights.
    """
    sampling, known, own = batch.sampling, call_parameters(pipeline), pipeline.scheduler
    settings = {**_defaults(pipeline, sampling), **options, **_settings(pipeline, sampling)}
    prompts = _prompts(pipeline, batch, settings, weighting=weighting)
    fixed = {"generator": _generators(batch.seeds), "output_type": "pil"}
    modes = _control_mode(pipeline, options.get("control_mode"), len(batch.prompts))
    given = {**settings, **modes, **prompts, **image_arguments(pipeline, batch), **fixed}
    pipeline.scheduler = make_scheduler(own, sampling.sampler, sampling.schedule, xl="XL" in type(pipeline).__name__)
    try:
        # Some classes encode a control image or a reference with noise of PyTorch's own generator, not of those given.
        torch.manual_seed(batch.seeds[0])
        progress = Progress(on_step, batch.preview_steps, _preview(pipeline, sampling))
        with following.starting_at_a_whole_step(pipeline), progress.watching(pipeline) as callbacks:
            output = pipeline(**{name: value for name, value in given.items() if name in known}, **callbacks)
    finally:
        pipeline.scheduler = own
    if hasattr(output, "frames"):
        return [to_clip(frames) for frames in output.frames]
    return [to_picture(image) for image in fit_results(pipeline, output.images, batch)]


def _preview(pipeline: Any, sampling: Sampling) -> Show | None:
    if not previews.can_preview(pipeline):
        return None
    return partial(previews.decode, width=sampling.width, height=sampling.height)


def _prompts(pipeline: Any, batch: Batch, settings: Mapping[str, Any], *, weighting: bool) -> dict[str, Any]:
    """Return the arguments that hold the prompts.

    FLUX.1 and Qwen-Image are guided by a second scale, and by that only away from a negative prompt; the makers of the
    latter send a space where there is nothing to say.
    """
    known = call_parameters(pipeline)
    names = ("true_cfg_scale",) if "true_cfg_scale" in known else GUIDANCE
    scale = settings.get(spelling(known, names) or "", number(known, names))
    guided = scale is None or scale > 1
    negative_prompts = batch.negative_prompts
    if negative_prompts is None and guided and "true_cfg_scale" in known:
        negative_prompts = (" ",) * len(batch.prompts)
    return encode_prompts(
        pipeline,
        batch.prompts,
        negative_prompts,
        clip_skip=batch.sampling.clip_skip,
        weighting=weighting,
        guided=guided,
        max_sequence_length=settings.get("max_sequence_length"),
    )


def _defaults(pipeline: Any, sampling: Sampling) -> dict[str, Any]:
    """Return what differs from the pipelines' own defaults and what options of the spec can change."""
    flux = type(pipeline).__name__.startswith("Flux") and not type(pipeline).__name__.startswith("Flux2")
    return {
        **({"max_sequence_length": _FLUX_TOKENS} if flux else {}),
        "decode_chunk_size": _FRAMES_DECODED,
        # Sana and PixArt would draw at the nearest size that they were trained on, and cut and scale the result.
        "use_resolution_binning": False,
        # FLUX.1-Kontext would draw as many pixels as this, whatever the size, and inpaint in a size of its own.
        "max_area": sampling.width * sampling.height,
        **({"_auto_resize": False} if sampling.mode == "inpaint" else {}),
    }


def _settings(pipeline: Any, sampling: Sampling) -> dict[str, Any]:
    """Return the arguments that stand for the sampling; what it leaves open is left to the options and the pipeline."""
    known = call_parameters(pipeline)
    wanted = {
        "width": sampling.width,
        "height": sampling.height,
        "num_inference_steps": sampling.steps,
        spelling(known, GUIDANCE): sampling.guidance_scale,
        "true_cfg_scale": sampling.true_cfg_scale,
        "strength": _strength(pipeline, sampling),
        "controlnet_conditioning_scale": sampling.control_strength,
        spelling(known, FRAMES): sampling.frames,
        spelling(known, FPS): sampling.fps,
    }
    return {name: value for name, value in wanted.items() if name is not None and value is not None}


def _control_mode(pipeline: Any, mode: int | None, pictures: int) -> dict[str, Any]:
    """Return the kind of the control image for each picture, where a pipeline wants it so; else nothing."""
    if mode is None or not type(pipeline).__name__.startswith(_MODE_FOR_EACH):
        return {}
    return {"control_mode": [mode] * pictures}


def _strength(pipeline: Any, sampling: Sampling) -> float | None:
    """Return the strength, at least as much as makes one step of the steps; pipelines fail at none."""
    steps = sampling.steps or number(call_parameters(pipeline), ("num_inference_steps",)) or 1
    return None if sampling.strength is None else min(1.0, max(sampling.strength, (1 + 1e-6) / steps))


def _generators(seeds: Sequence[int]) -> torch.Generator | list[torch.Generator]:
    """Return a generator for each picture; a single one is no list, which some pipelines do not take."""
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    return generators if len(generators) > 1 else generators[0]
