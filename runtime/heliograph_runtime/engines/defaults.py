"""Defaults of the spec that a model has no use for are refused as they are refused in a request."""

from heliograph_api.defaults import generation_defaults
from heliograph_api.errors import APIError
from heliograph_api.samplers import check_sampling, resolve_sampling
from heliograph_api.spec import ImageModelSpec
from heliograph_runtime.engines.protocol import Capabilities, LoadError


def check_defaults(spec: ImageModelSpec, found: Capabilities) -> None:
    """Raise `LoadError` for a default of a spec that the loaded model can't follow in any mode."""
    diffusers, parameters = spec.diffusers, spec.parameters
    pipelines = " and ".join(dict.fromkeys(mode.pipeline for mode in found.modes.values()))
    if diffusers and diffusers.img2img and "image" not in found.modes:
        raise LoadError("InvalidSpec", f"diffusers.img2img: {pipelines} changes no pictures; remove it")
    if (spec.step or 0) > found.max_steps:
        raise LoadError("InvalidSpec", f"step: must be at most {found.max_steps} for this model")
    sampler = generation_defaults(spec).sampler
    if sampler and not _serves(found, sampler):
        field = "options: sampler" if spec.uses_sdcpp else "diffusers.scheduler_type"
        accepted = f"use one of {', '.join(found.samplers)}" if found.samplers else "remove it: the model keeps its own"
        raise LoadError("InvalidSpec", f"{field}: {sampler!r} is no sampler of this model; {accepted}")
    negative_prompt = parameters and parameters.negative_prompt
    if negative_prompt and not any(mode.negative_prompt for mode in found.modes.values()):
        raise LoadError("InvalidSpec", f"parameters.negative_prompt: {pipelines} takes no negative prompt; remove it")
    clip_skip = (diffusers and diffusers.clip_skip) or (parameters and parameters.clip_skip) or 0
    if clip_skip > (found.max_clip_skip or 0):
        most = "does not have it; remove it" if found.max_clip_skip is None else f"allows at most {found.max_clip_skip}"
        raise LoadError("InvalidSpec", f"diffusers.clip_skip: {pipelines} {most}")


def _serves(found: Capabilities, sampler: str) -> bool:
    try:
        check_sampling(*resolve_sampling(sampler, None), samplers=found.samplers, schedules=found.schedules)
    except APIError:
        return False
    return True
