"""Weights of the models that stand for those that the source systems' documentation names."""

from pathlib import Path
from typing import Any

import diffusers

from runtime.miniature_parts import load_pipeline, reproducible, vae
from runtime.miniatures import save_lora, save_sd

_LEVELS = 6


@reproducible
def save_documented_model(folder: Path) -> None:
    """Save a Stable Diffusion miniature that draws the large pictures of the documentation within seconds on a CPU.

    Its latents are 32 times smaller than the picture, so that 51 steps at 1024x1024 are little work. Beside the model,
    in `model`, there are a ControlNet, in `control`, and the LoRA of sd-api-server's example.
    """
    save_sd(folder / "model")
    pipeline = load_pipeline("StableDiffusionPipeline", folder / "model", vae=vae(latent_channels=4, levels=_LEVELS))
    pipeline.save_pretrained(folder / "model")
    control_net: Any = diffusers.ControlNetModel
    control = control_net.from_unet(pipeline.unet, conditioning_embedding_out_channels=(4,) * _LEVELS)
    control.save_pretrained(folder / "control")
    save_lora(folder / "model", folder / "lora-models" / "realism_lora_comfy_converted.safetensors")
