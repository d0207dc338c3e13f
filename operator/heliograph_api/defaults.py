"""What applies where a request is silent: the ImageModel's own values, then the set that `serving.compat` names.

What neither names stays None: the engine then takes the model family's own value.
"""

from dataclasses import dataclass

from heliograph_api.spec import ImageModelSpec


@dataclass(frozen=True)
class GenerationDefaults:
    """Defaults of one model; None means the model family's own.

    Attributes:
        steps: Inference steps.
        guidance_scale: Classifier-free guidance scale.
        sampler: Sampler, in LocalAI's spelling.
        seed: Seed; None means random.
        negative_prompt: Negative prompt.
        clip_skip: CLIP layers to skip from the end.
        width: Width of the image in pixels.
        height: Height of the image in pixels.
    """

    steps: int | None = None
    guidance_scale: float | None = None
    sampler: str | None = None
    seed: int | None = None
    negative_prompt: str | None = None
    clip_skip: int | None = None
    width: int | None = None
    height: int | None = None


# LocalAI: docs of the diffusers backend; sd-api-server: its API reference. GPUStack documents the size,
# and else the families' own values.
_COMPAT = {
    "localai": GenerationDefaults(steps=30, guidance_scale=8.0, width=512, height=512),
    "sd-api-server": GenerationDefaults(
        steps=20, guidance_scale=7.0, sampler="euler_a", seed=42, width=512, height=512
    ),
    "gpustack": GenerationDefaults(width=512, height=512),
}


def generation_defaults(spec: ImageModelSpec) -> GenerationDefaults:
    """Return the defaults that a model's spec and its `serving.compat` give."""
    base = _COMPAT.get(spec.serving.compat or "", GenerationDefaults())
    diffusers, parameters = spec.diffusers, spec.parameters
    seed = parameters.seed if parameters else None
    return GenerationDefaults(
        steps=spec.step or base.steps,
        guidance_scale=_guidance_scale(spec, base.guidance_scale),
        sampler=_sampler(spec) or base.sampler,
        seed=base.seed if seed is None or seed < 0 else seed,
        negative_prompt=(parameters and parameters.negative_prompt) or None,
        clip_skip=(diffusers and diffusers.clip_skip) or (parameters and parameters.clip_skip) or None,
        width=base.width,
        height=base.height,
    )


def _guidance_scale(spec: ImageModelSpec, fallback: float | None) -> float | None:
    """Return the scale from the top, the diffusers block or an option, in this order; 0 is a value, not an absence."""
    if spec.cfg_scale is not None:
        return spec.cfg_scale
    if spec.diffusers and spec.diffusers.cfg_scale is not None:
        return spec.diffusers.cfg_scale
    for option in spec.options or ():
        key, _, value = option.partition(":")
        if key in {"cfg_scale", "guidance_scale"}:
            return float(value)
    return fallback


def _sampler(spec: ImageModelSpec) -> str | None:
    """Return the sampler: an option for stable-diffusion.cpp, `scheduler_type` for diffusers."""
    if spec.uses_sdcpp:
        return next((option[len("sampler:") :] for option in spec.options or () if option.startswith("sampler:")), None)
    return (spec.diffusers and spec.diffusers.scheduler_type) or None
