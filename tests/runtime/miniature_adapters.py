"""Random adapters for the miniatures: LoRAs and an embedding for textual inversion."""

from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file

from runtime.miniature_parts import CLIP_WIDTH, load_pipeline


def save_lora(model: Path, file: Path) -> None:
    """Save a LoRA for the attention of a miniature's UNet or transformer.

    Args:
        model: The miniature's folder.
        file: Where to save it, a .safetensors file.
    """
    pipeline = load_pipeline("DiffusionPipeline", model)
    part = "unet" if hasattr(pipeline, "unet") else "transformer"
    denoiser = getattr(pipeline, part)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        # Without the usual start, which is to change nothing.
        denoiser.add_adapter(LoraConfig(r=2, lora_alpha=8, target_modules=["to_q", "to_v"], init_lora_weights=False))
    layers = {f"{part}_lora_layers": get_peft_model_state_dict(denoiser)}
    pipeline.save_lora_weights(file.parent, weight_name=file.name, **layers)


def save_embedding(file: Path, *, token: str) -> None:
    """Save an embedding of two vectors for the Stable Diffusion miniature, which a prompt calls by the token."""
    save_file({token: torch.randn(2, CLIP_WIDTH, generator=torch.Generator().manual_seed(0))}, file)
