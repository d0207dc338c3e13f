"""What a loaded pipeline can do, read off the pipeline itself rather than off a list of models."""

from collections.abc import Mapping
from inspect import Parameter, signature
from math import lcm
from typing import Any

from heliograph_runtime.engines.diffusers.families import family_of
from heliograph_runtime.engines.diffusers.schedulers import samplers_of
from heliograph_runtime.engines.protocol import Capabilities


def call_parameters(pipeline: Any) -> Mapping[str, Parameter]:
    """Return the parameters of a pipeline's call, by name."""
    return signature(type(pipeline).__call__).parameters


def read_capabilities(pipeline: Any, *, device: str, dtype: str, options: Mapping[str, Any]) -> Capabilities:
    """Return what a pipeline can do.

    Args:
        pipeline: The pipeline; it must not have drawn yet, so that its scheduler is still the model's own.
        device: Device that it is on.
        dtype: Number type of its weights.
        options: Further keyword arguments of each call.
    """
    parameters = call_parameters(pipeline)
    name = type(pipeline).__name__
    family = family_of(name)
    width, height = _native_size(pipeline, parameters)
    return Capabilities(
        pipeline=name,
        device=device,
        dtype=dtype,
        width=width,
        height=height,
        size_multiple=_size_multiple(pipeline),
        samplers=samplers_of(pipeline.scheduler),
        negative_prompt=_takes_negative_prompt(parameters, options),
        max_clip_skip=_max_clip_skip(pipeline) if "clip_skip" in parameters else None,
        max_steps=_max_steps(pipeline.scheduler.config),
        steps=family.steps or _default(parameters, "num_inference_steps"),
        guidance_scale=_default(parameters, "guidance_scale")
        if family.guidance_scale is None
        else family.guidance_scale,
        sampler=family.sampler,
    )


def _default(parameters: Mapping[str, Parameter], name: str) -> Any:
    """Return a parameter's default if it is a number."""
    default = parameters[name].default if name in parameters else None
    return default if isinstance(default, int | float) and not isinstance(default, bool) else None


def _takes_negative_prompt(parameters: Mapping[str, Parameter], options: Mapping[str, Any]) -> bool:
    """Return whether a negative prompt has an effect; with distilled guidance it has one only with a true scale too."""
    true_scale = options.get("true_cfg_scale", _default(parameters, "true_cfg_scale"))
    return "negative_prompt" in parameters and (true_scale is None or true_scale > 1)


def _size_multiple(pipeline: Any) -> int:
    """Return what sides must be a multiple of: the VAE's factor, the transformer's patches and the pipeline's packing.

    A packing pipeline (FLUX, Qwen-Image) tells of it by its image processor's factor, another (SD3) by the patch size.
    Some check for multiples of 8 whatever their VAE is.
    """
    vae = getattr(pipeline, "vae_scale_factor", 8)
    processor = getattr(pipeline, "image_processor", None)
    packed = getattr(processor, "config", {}).get("vae_scale_factor", 1)
    transformer = getattr(pipeline, "transformer", None)
    patch = getattr(transformer, "config", {}).get("patch_size", 1)
    return lcm(8, vae * (patch if isinstance(patch, int) else 1), packed)


def _native_size(pipeline: Any, parameters: Mapping[str, Parameter]) -> tuple[int, int]:
    """Return the width and height in pixels that the model was trained for."""
    fixed = _default(parameters, "width"), _default(parameters, "height")
    if None not in fixed:
        return fixed
    model = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    config: Mapping[str, Any] = getattr(model, "config", {})
    latent = getattr(pipeline, "default_sample_size", None) or config.get("sample_size") or 64
    height, width = (latent, latent) if isinstance(latent, int) else latent
    factor = getattr(pipeline, "vae_scale_factor", 8)
    return width * factor, height * factor


def _max_steps(scheduler: Mapping[str, Any]) -> int:
    """Return the length of the schedule that the model was trained on, less the offset that is added to each place."""
    return int(scheduler.get("num_train_timesteps", 1000) - scheduler.get("steps_offset", 0))


def _max_clip_skip(pipeline: Any) -> int | None:
    """Return how many layers can be skipped so that every CLIP encoder of the pipeline still has one left."""
    encoders = (getattr(pipeline, name, None) for name in ("text_encoder", "text_encoder_2", "text_encoder_3"))
    clips = [encoder for encoder in encoders if encoder is not None and type(encoder).__name__.startswith("CLIPText")]
    layers = [clip.config.num_hidden_layers for clip in clips]
    return min(layers) - 1 if layers else None
