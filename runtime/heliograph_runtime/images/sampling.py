"""How pictures are drawn: steps, guidance, sampler and all else that the pictures of one request have in common."""

from heliograph_api.defaults import GenerationDefaults
from heliograph_api.errors import invalid_request
from heliograph_api.images.request import ImageRequest
from heliograph_api.samplers import check_sampling, resolve_sampling
from heliograph_runtime.engines.protocol import Capabilities, Mode, Sampling
from heliograph_runtime.images.modes import lacks, unsupported, without_control
from heliograph_runtime.images.sizes import UPSCALE, Size, choose_frames, choose_size

CONTROL_STRENGTH = 0.9
"""Where the request names none (sd-api-server's documentation)."""


def choose_sampling(
    request: ImageRequest,
    mode: Mode,
    *,
    capabilities: Capabilities,
    defaults: GenerationDefaults,
    family_sampler: bool,
    max_pixels: int,
    picture: Size | None,
) -> Sampling:
    """Return how a request's pictures are drawn, LoRA weights aside; see `planning.plan_pictures`.

    Raises:
        APIError: 400, the request asks for something that the model can't do.
    """
    if request.scale is not None and mode != "upscale":
        raise unsupported("scale", "is for the path images/upscale; leave the field out, or name a size.")
    width, height = choose_size(
        request, mode, capabilities=capabilities, defaults=defaults, max_pixels=max_pixels, picture=picture
    )
    steps = _steps(request, mode, capabilities, defaults)
    guidance_scale, true_cfg_scale = _guidance(request, mode, capabilities, defaults)
    if lacks(request, capabilities.modes[mode], "true_cfg_scale"):
        # 1 is what is drawn with where there is no such option.
        if (true_cfg_scale or 0) > 1:
            raise without_control("guidance_scale" if request.true_cfg_scale is None else "true_cfg_scale")
        true_cfg_scale = None
    sampler, schedule = _sampler(request, capabilities, defaults, family_sampler=family_sampler)
    frames, fps = choose_frames(request, capabilities.video) if capabilities.video else (None, None)
    return Sampling(
        mode=mode,
        width=width,
        height=height,
        steps=steps,
        guidance_scale=guidance_scale,
        true_cfg_scale=true_cfg_scale,
        sampler=sampler,
        schedule=schedule,
        clip_skip=_clip_skip(request, mode, capabilities, defaults),
        strength=_strength(request, capabilities, mode, steps=steps),
        control_strength=_control_strength(request),
        frames=frames,
        fps=fps,
        upscale=(request.scale or UPSCALE) if mode == "upscale" else None,
    )


def _steps(request: ImageRequest, mode: Mode, capabilities: Capabilities, defaults: GenerationDefaults) -> int | None:
    if capabilities.steps is None:
        _refuse("steps", request.steps, capabilities, mode)
        return None
    if request.steps is not None and request.steps > capabilities.max_steps:
        raise invalid_request(
            "steps", f"must be from 1 to {capabilities.max_steps} for this model, not {request.steps}."
        )
    return request.steps or min(defaults.steps or capabilities.steps, capabilities.max_steps)


def _guidance(
    request: ImageRequest, mode: Mode, capabilities: Capabilities, defaults: GenerationDefaults
) -> tuple[float | None, float | None]:
    """Return the guidance scale, which is the distilled one where there is such, and the true scale beside it.

    A true scale of None leaves it to the pipeline.
    """
    true_scale = request.true_cfg_scale
    if capabilities.true_cfg_scale is None:
        _refuse("true_cfg_scale", true_scale, capabilities, mode)
    if capabilities.guidance_scale is None:
        if capabilities.true_cfg_scale is None:
            _refuse("guidance_scale", request.guidance_scale, capabilities, mode)
            return None, None
        # Qwen-Image calls its classifier-free guidance the true one, and has no other. LocalAI's manifests for it say
        # `cfg_scale: 0` beside an option `true_cfg_scale`, so the default of the spec is not meant.
        return None, _first(true_scale, request.guidance_scale)
    if not capabilities.distilled_guidance:
        return _first(request.guidance_scale, defaults.guidance_scale, capabilities.guidance_scale), true_scale
    if capabilities.cfg_scale_is_true:
        return (
            _first(request.guidance, capabilities.guidance_scale),
            _first(true_scale, request.guidance_scale, defaults.guidance_scale),
        )
    if request.guidance is not None and capabilities.true_cfg_scale is not None:
        true_scale = _first(true_scale, request.guidance_scale)
    return (
        _first(request.guidance, request.guidance_scale, defaults.guidance_scale, capabilities.guidance_scale),
        true_scale,
    )


def _sampler(
    request: ImageRequest, capabilities: Capabilities, defaults: GenerationDefaults, *, family_sampler: bool
) -> tuple[str | None, str | None]:
    """Return sampler and schedule; a default that the model has no use for is the model's own instead."""
    sampler, schedule = request.sampler, request.schedule
    if sampler is None:
        default = defaults.sampler or (capabilities.sampler if family_sampler else None)
        found, along = resolve_sampling(default, None)
        if found in capabilities.samplers:
            sampler = found
            schedule = schedule or (along if along in capabilities.schedules else None)
    check_sampling(sampler, schedule, samplers=capabilities.samplers, schedules=capabilities.schedules)
    return sampler, schedule


def _clip_skip(
    request: ImageRequest, mode: Mode, capabilities: Capabilities, defaults: GenerationDefaults
) -> int | None:
    most = capabilities.max_clip_skip
    if most is None:
        _refuse("clip_skip", request.clip_skip or None, capabilities, mode)
        return None
    if request.clip_skip is not None and request.clip_skip > most:
        raise invalid_request("clip_skip", f"must be from 0 to {most} for this model, not {request.clip_skip}.")
    return (defaults.clip_skip if request.clip_skip is None else request.clip_skip) or None


def _strength(request: ImageRequest, capabilities: Capabilities, mode: Mode, *, steps: int | None) -> float | None:
    """Return the strength, so that it leaves at least one step; a mode that has none takes no heed of it."""
    default = capabilities.modes[mode].strength
    if default is None:
        return None
    if lacks(request, capabilities.modes[mode], "strength"):
        if request.strength is not None:
            raise without_control("strength")
        return None
    strength = default if request.strength is None else request.strength
    if steps is None or int(steps * strength) >= 1:
        return strength
    if request.strength is None:
        return 1.0
    raise invalid_request(
        "strength",
        f"{strength:g} of {steps} steps is less than one; send at least {-(-100 // steps) / 100:g}, or more steps.",
    )


def _control_strength(request: ImageRequest) -> float | None:
    if request.control_image is None:
        return None
    return CONTROL_STRENGTH if request.control_strength is None else request.control_strength


def _first(*values: float | None) -> float | None:
    """Return the first value that is given; 0 is one."""
    return next((value for value in values if value is not None), None)


def _refuse(field: str, value: object, capabilities: Capabilities, mode: Mode) -> None:
    """Raise for a field that is given though the pipeline has no such option."""
    if value is not None:
        raise unsupported(field, f"{capabilities.modes[mode].pipeline} does not have it; leave the field out.")
