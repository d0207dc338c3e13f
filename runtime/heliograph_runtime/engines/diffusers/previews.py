"""Unfinished pictures, decoded from the latents of a call that goes on."""

from collections.abc import Sequence
from typing import Any

import torch

from heliograph_runtime.engines.diffusers.arguments import FRAMES, call_parameters, spelling
from heliograph_runtime.engines.diffusers.pictures import to_picture
from heliograph_runtime.engines.protocol import Picture

_VAES = frozenset({"AutoencoderKL", "AutoencoderDC", "AutoencoderTiny", "AsymmetricAutoencoderKL"})
# FLUX.2's latents are packed in an order that only its call knows, and an upscaler's are of another size.
_NOT_PREVIEWED = ("Flux2", "StableDiffusionUpscale", "StableDiffusionLatentUpscale")


def can_preview(pipeline: Any) -> bool:
    """Return whether `decode` knows the latents of a pipeline and its steps hand them out."""
    parameters, name = call_parameters(pipeline), type(pipeline).__name__
    return (
        type(getattr(pipeline, "vae", None)).__name__ in _VAES
        and "callback_on_step_end" in parameters
        and spelling(parameters, FRAMES) is None
        and not name.startswith(_NOT_PREVIEWED)
    )


@torch.no_grad()
def decode(pipeline: Any, latents: torch.Tensor, *, width: int, height: int) -> Sequence[Picture]:
    """Return the pictures that latents hold at this time, one for each prompt.

    Args:
        pipeline: A pipeline that `can_preview`.
        latents: Shape (pictures, channels, height, width) in latent pixels, or FLUX.1's, which are packed to
            (pictures, patches, channels of a patch).
        width: Width of the pictures in pixels.
        height: Height of the pictures in pixels.
    """
    vae = pipeline.vae
    if latents.ndim == 3:
        latents = pipeline._unpack_latents(latents, height, width, pipeline.vae_scale_factor)  # noqa: SLF001 - no other
    own = vae.dtype
    try:
        if own == torch.float16 and vae.config.get("force_upcast"):
            vae.to(torch.float32)  # SDXL's overflows in half precision
        decoded = vae.decode(_unscale(vae, latents).to(vae.dtype), return_dict=False)[0]
    finally:
        if vae.dtype != own:
            vae.to(own)
    return [to_picture(image) for image in pipeline.image_processor.postprocess(decoded, output_type="pil")]


def _unscale(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """Return latents as the VAE made them; pipelines work with shifted and scaled ones."""
    mean, std = vae.config.get("latents_mean"), vae.config.get("latents_std")
    scale = vae.config.get("scaling_factor") or 1.0
    if mean is not None and std is not None:
        shape = (1, -1, *(1,) * (latents.ndim - 2))
        by_channel = (torch.tensor(values).view(shape).to(latents) for values in (std, mean))
        return latents * next(by_channel) / scale + next(by_channel)
    return latents / scale + (vae.config.get("shift_factor") or 0.0)
