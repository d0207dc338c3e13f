"""From a checked request to the drawings that answer it: defaults, sizes and seeds, refused where the model can't."""

from dataclasses import dataclass

from heliograph_api.defaults import GenerationDefaults
from heliograph_api.errors import APIError, invalid_request
from heliograph_api.images import ImageRequest
from heliograph_runtime.engines.protocol import Capabilities, Sampling
from heliograph_runtime.engines.samplers import find_sampler

MAX_SEED = 2**32


@dataclass(frozen=True)
class Plan:
    """What to draw for one request.

    Attributes:
        sampling: What all its images have in common.
        prompts: One prompt for each image.
        negative_prompt: The negative prompt of all of them, if there is one.
        seeds: One seed for each image.
    """

    sampling: Sampling
    prompts: tuple[str, ...]
    negative_prompt: str | None
    seeds: tuple[int, ...]


def plan_images(
    request: ImageRequest,
    *,
    capabilities: Capabilities,
    defaults: GenerationDefaults,
    family_sampler: bool,
    random_seed: int,
) -> Plan:
    """Return what to draw: the request's values, else the model's defaults, else the family's own.

    The image at place i has the seed plus i. Sides are rounded to the nearest multiple that the pipeline takes.

    Args:
        request: The checked request.
        capabilities: What the model can do.
        defaults: The ImageModel's own defaults.
        family_sampler: Whether a sampler that nothing names is the family's rather than the one in the model's files.
        random_seed: Seed to use where neither the request nor the model has one.

    Raises:
        APIError: 400, the request asks for something that the model can't do.
    """
    prompts = tuple(prompt for prompt in request.prompts for _ in range(request.n))
    seed = next(value for value in (request.seed, defaults.seed, random_seed) if value is not None)
    return Plan(
        sampling=Sampling(
            width=_side(request.width or defaults.width or capabilities.width, capabilities.size_multiple),
            height=_side(request.height or defaults.height or capabilities.height, capabilities.size_multiple),
            steps=_steps(request, capabilities, defaults),
            guidance_scale=_guidance_scale(request, capabilities, defaults),
            sampler=_sampler(request, capabilities, defaults, family_sampler=family_sampler),
            clip_skip=_clip_skip(request, capabilities, defaults),
        ),
        prompts=prompts,
        negative_prompt=_negative_prompt(request, capabilities, defaults),
        seeds=tuple((seed + index) % MAX_SEED for index in range(len(prompts))),
    )


def _side(pixels: int, multiple: int) -> int:
    return max(1, (pixels + multiple // 2) // multiple) * multiple


def _steps(request: ImageRequest, capabilities: Capabilities, defaults: GenerationDefaults) -> int | None:
    if capabilities.steps is None:
        _refuse("steps", request.steps, capabilities)
        return None
    if request.steps is not None and request.steps > capabilities.max_steps:
        raise invalid_request(
            "steps", f"must be from 1 to {capabilities.max_steps} for this model, not {request.steps}."
        )
    return request.steps or defaults.steps or capabilities.steps


def _guidance_scale(request: ImageRequest, capabilities: Capabilities, defaults: GenerationDefaults) -> float | None:
    if capabilities.guidance_scale is None:
        _refuse("guidance_scale", request.guidance_scale, capabilities)
        return None
    values = (request.guidance_scale, defaults.guidance_scale, capabilities.guidance_scale)
    return next(value for value in values if value is not None)


def _sampler(
    request: ImageRequest, capabilities: Capabilities, defaults: GenerationDefaults, *, family_sampler: bool
) -> str | None:
    """Return the sampler's name; a default that the model has no use for is the model's own sampler instead."""
    if request.sampler is not None:
        found = find_sampler(request.sampler, capabilities.samplers)
        if found is None:
            known = ", ".join(capabilities.samplers)
            accepted = f"send one of {known}" if known else "leave the field out: this model keeps its own sampler"
            raise invalid_request("sampler", f"{request.sampler!r} is not served by this model; {accepted}.")
        return found
    default = defaults.sampler or (capabilities.sampler if family_sampler else None)
    return find_sampler(default, capabilities.samplers) if default else None


def _clip_skip(request: ImageRequest, capabilities: Capabilities, defaults: GenerationDefaults) -> int | None:
    most = capabilities.max_clip_skip
    if most is None:
        _refuse("clip_skip", request.clip_skip or None, capabilities)
        return None
    if request.clip_skip is not None and request.clip_skip > most:
        raise invalid_request("clip_skip", f"must be from 0 to {most} for this model, not {request.clip_skip}.")
    return (defaults.clip_skip if request.clip_skip is None else request.clip_skip) or None


def _negative_prompt(request: ImageRequest, capabilities: Capabilities, defaults: GenerationDefaults) -> str | None:
    if not capabilities.negative_prompt:
        _refuse("negative_prompt", request.negative_prompt, capabilities)
        return None
    return request.negative_prompt or defaults.negative_prompt


def _refuse(field: str, value: object, capabilities: Capabilities) -> None:
    """Raise for a field that is given though the pipeline has no such option."""
    if value is not None:
        raise APIError(
            400,
            f"{field}: {capabilities.pipeline} does not have it; leave the field out.",
            param=field,
            code="unsupported",
        )
