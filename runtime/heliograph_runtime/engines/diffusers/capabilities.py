"""What a loaded model can do, read off its pipelines themselves rather than off a list of models."""

from collections.abc import Mapping
from inspect import Parameter
from math import lcm
from typing import Any

from heliograph_runtime.engines.diffusers.arguments import (
    GUIDANCE,
    IMAGE,
    call_parameters,
    number,
    spelling,
    takes_several_references,
)
from heliograph_runtime.engines.diffusers.families import Family, family_of
from heliograph_runtime.engines.diffusers.loading import LoadedModel, ModePipelines
from heliograph_runtime.engines.diffusers.previews import can_preview
from heliograph_runtime.engines.diffusers.schedulers import samplers_of, schedules_of
from heliograph_runtime.engines.diffusers.video import read_video_capabilities
from heliograph_runtime.engines.protocol import MAX_REFERENCES, Capabilities, Mode, ModeCapabilities

# What is changed most often, and what llama-box and sd-api-server do by default; a masked part is drawn all anew.
_STRENGTH: Mapping[Mode, float] = {"image": 0.75, "inpaint": 1.0}
_SCHNELL_STEPS = 4
# They refuse several prompts in a call, or read a list of pictures as one for each prompt.
_ONE_AT_A_TIME = ("GlmImage", "JoyImageEdit", "LongCatImageEdit", "QwenImageEdit", "QwenImage21", "ZImageOmni")


# What a request can say to one pipeline of a mode and not to the other; arguments and fields are called alike.
_OF_REQUESTS = ("negative_prompt", "true_cfg_scale", "strength")
# What pipelines check, whatever their VAE's factor is; all others check for multiples of 8 at most.
_CHECKED_MULTIPLES = (("Sana", 32), ("LTX", 32))


def read_capabilities(model: LoadedModel, *, device: str, dtype: str, options: Mapping[str, Any]) -> Capabilities:
    """Return what a model can do.

    Args:
        model: The model; it must not have drawn yet, so that its scheduler is still its own.
        device: Device that it is on.
        dtype: Number type of its weights.
        options: Further keyword arguments of each call, which are defaults where a request has the same.
    """
    pipeline = next(iter(model.modes.values())).plain
    parameters = call_parameters(pipeline)
    family = family_of(type(pipeline).__name__)
    scheduler = pipeline.scheduler
    width, height = _native_size(pipeline, parameters)
    video = read_video_capabilities(pipeline, fps=family.fps, options=options)
    true_cfg_scale = options.get("true_cfg_scale", number(parameters, ("true_cfg_scale",)))
    return Capabilities(
        family=type(pipeline).__name__.removesuffix("Pipeline"),
        modes={mode: _mode(mode, made, options=options) for mode, made in model.modes.items()},
        device=device,
        dtype=dtype,
        width=width,
        height=height,
        size_multiple=_size_multiple(pipeline),
        max_pixels=model.settled.budget.max_pixels(frames=video.frames if video else 1, least=width * height),
        samplers=samplers_of(scheduler),
        schedules=schedules_of(scheduler),
        max_clip_skip=_max_clip_skip(pipeline) if "clip_skip" in parameters else None,
        max_steps=_max_steps(scheduler.config),
        steps=_steps(pipeline, parameters, family),
        guidance_scale=_guidance_scale(pipeline, parameters, family),
        distilled_guidance=_is_distilled(pipeline) and true_cfg_scale is not None,
        true_cfg_scale=true_cfg_scale,
        sampler=family.sampler if family.sampler in samplers_of(scheduler) else None,
        loras=model.loras.names,
        previews=can_preview(pipeline),
        video=video,
    )


def _mode(mode: Mode, made: ModePipelines, *, options: Mapping[str, Any]) -> ModeCapabilities:
    pipeline = made.plain
    parameters, name = call_parameters(pipeline), type(pipeline).__name__
    several = mode == "reference" and takes_several_references(pipeline)
    one_image = int(mode != "text" and spelling(parameters, (*IMAGE, "control_image")) is not None)
    alone = mode == "upscale" or "num_images_per_prompt" not in parameters or name.startswith(_ONE_AT_A_TIME)
    return ModeCapabilities(
        pipeline=name,
        prompt="prompt" in parameters and mode != "upscale",
        negative_prompt=_takes_negative_prompt(parameters, options),
        strength=options.get("strength", _STRENGTH.get(mode)) if "strength" in parameters else None,
        sized=mode in {"image", "inpaint"} or "width" in parameters,
        max_images=MAX_REFERENCES if several else one_image,
        batches=not alone,
        control=made.control is not None,
        control_lacks=_control_lacks(made),
    )


def _control_lacks(made: ModePipelines) -> tuple[str, ...]:
    """Return what the pipeline that follows a control image has no argument for, though the plain one has."""
    if made.control is None:
        return ()
    plain, control = call_parameters(made.plain), call_parameters(made.control)
    return tuple(name for name in _OF_REQUESTS if name in plain and name not in control)


def _takes_negative_prompt(parameters: Mapping[str, Parameter], options: Mapping[str, Any]) -> bool:
    """Return whether a negative prompt has an effect; with distilled guidance it has one only with a true scale too."""
    true_scale = options.get("true_cfg_scale", number(parameters, ("true_cfg_scale",)))
    return "negative_prompt" in parameters and (true_scale is None or true_scale > 1)


def _steps(pipeline: Any, parameters: Mapping[str, Parameter], family: Family) -> int | None:
    """Return the family's own number of steps; FLUX.1-schnell is the FLUX.1 that was not distilled with a guidance."""
    if family is family_of("FluxPipeline") and not _guidance_embeds(pipeline):
        return _SCHNELL_STEPS
    return family.steps or number(parameters, ("num_inference_steps",))


def _guidance_scale(pipeline: Any, parameters: Mapping[str, Parameter], family: Family) -> float | None:
    """Return the family's own guidance scale; Qwen-Image has an argument for it that its weights have no use for."""
    if spelling(parameters, GUIDANCE) is None or ("true_cfg_scale" in parameters and not _is_distilled(pipeline)):
        return None
    own = number(parameters, GUIDANCE)
    return own if family.guidance_scale is None else family.guidance_scale


def _is_distilled(pipeline: Any) -> bool:
    """Return whether the guidance is one that the weights were distilled with, as FLUX.1's are.

    FLUX.1-schnell was distilled without; its pipelines take a scale all the same and leave it alone.
    """
    return _guidance_embeds(pipeline) or type(pipeline).__name__.startswith("Flux")


def _guidance_embeds(pipeline: Any) -> bool:
    return bool(getattr(getattr(pipeline, "transformer", None), "config", {}).get("guidance_embeds"))


def _size_multiple(pipeline: Any) -> int:
    """Return what sides must be a multiple of: the VAE's factor, the transformer's patches and the pipeline's packing.

    A packing pipeline (FLUX, Qwen-Image) tells of it by its image processor's factor, another (SD3) by the patch size.
    """
    checked = next((it for prefix, it in _CHECKED_MULTIPLES if type(pipeline).__name__.startswith(prefix)), 8)
    processor = getattr(pipeline, "image_processor", None)
    packed = getattr(processor, "config", {}).get("vae_scale_factor", 1)
    transformer = getattr(pipeline, "transformer", None)
    patch = getattr(transformer, "config", {}).get("patch_size", 1)
    patch = patch[-1] if isinstance(patch, tuple | list) else patch
    return lcm(checked, _vae_factor(pipeline) * (patch if isinstance(patch, int) else 1), packed)


def _vae_factor(pipeline: Any) -> int:
    """Return how many times smaller latents are than pictures."""
    names = ("vae_scale_factor_spatial", "vae_spatial_compression_ratio", "vae_scale_factor")
    return next((int(getattr(pipeline, name)) for name in names if hasattr(pipeline, name)), 8)


def _native_size(pipeline: Any, parameters: Mapping[str, Parameter]) -> tuple[int, int]:
    """Return the width and height in pixels that the model was trained for."""
    fixed = number(parameters, ("width",)), number(parameters, ("height",))
    if None not in fixed:
        return fixed
    model = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    config: Mapping[str, Any] = getattr(model, "config", {})
    latent = getattr(pipeline, "default_sample_size", None) or config.get("sample_size") or 64
    height, width = (latent, latent) if isinstance(latent, int) else latent
    return width * _vae_factor(pipeline), height * _vae_factor(pipeline)


def _max_steps(scheduler: Mapping[str, Any]) -> int:
    """Return the length of the schedule that the model was trained on, less the offset that is added to each place."""
    return int(scheduler.get("num_train_timesteps", 1000) - scheduler.get("steps_offset", 0))


def _max_clip_skip(pipeline: Any) -> int | None:
    """Return how many layers can be skipped so that every CLIP encoder of the pipeline still has one left."""
    encoders = (getattr(pipeline, name, None) for name in ("text_encoder", "text_encoder_2", "text_encoder_3"))
    clips = [encoder for encoder in encoders if encoder is not None and type(encoder).__name__.startswith("CLIPText")]
    layers = [clip.config.num_hidden_layers for clip in clips]
    return min(layers) - 1 if layers else None
