"""Miniatures of the FLUX pipelines and of their relative Chroma."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    PixtralImageProcessor,
    PixtralProcessor,
    Qwen3ForCausalLM,
)

from runtime.miniature_parts import (
    CLIP_WIDTH,
    LLM_WIDTH,
    T5_WIDTH,
    byte_tokenizer,
    clip,
    new,
    qwen3_config,
    reproducible,
    save_pipeline,
    t5,
    t5_tokenizer,
    transformer,
    vae,
)

_LATENT_CHANNELS = 1
_PACKED_CHANNELS = 4 * _LATENT_CHANNELS
_BLOCKS = {
    "patch_size": 1,
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": T5_WIDTH,
    "pooled_projection_dim": CLIP_WIDTH,
    "axes_dims_rope": (4, 4, 8),
}
_MISTRAL_CHAT = (
    "{% for message in messages %}{% for part in message.content if part.type == 'text' %}{{ part.text }}{% endfor %}"
    "{{ eos_token }}{% endfor %}"
)


@reproducible
def save_flux(folder: Path) -> None:
    """Save a FLUX.1 [dev] pipeline, whose guidance is distilled into it."""
    save_pipeline("FluxPipeline", folder, **_flux())


@reproducible
def save_flux_schnell(folder: Path) -> None:
    """Save a FLUX.1 [schnell] pipeline, which has no guidance."""
    save_pipeline("FluxPipeline", folder, **_flux(guidance_embeds=False))


@reproducible
def save_flux_kontext(folder: Path) -> None:
    """Save a FLUX.1 Kontext pipeline, which changes a picture as the prompt says."""
    save_pipeline("FluxKontextPipeline", folder, **_flux())


@reproducible
def save_flux_fill(folder: Path) -> None:
    """Save a FLUX.1 Fill pipeline, whose transformer sees the masked picture and each pixel of the mask."""
    mask_channels = 8 * 8 * 4
    parts = _flux(in_channels=2 * _PACKED_CHANNELS + mask_channels, out_channels=_PACKED_CHANNELS)
    save_pipeline("FluxFillPipeline", folder, **parts)


@reproducible
def save_flux_controlnet(folder: Path) -> None:
    """Save a ControlNet for the FLUX.1 miniature."""
    _save_controlnet(folder)


@reproducible
def save_flux_union_controlnet(folder: Path) -> None:
    """Save a ControlNet for six kinds of control images, for the FLUX.1 miniature."""
    _save_controlnet(folder, num_mode=6)


def _save_controlnet(folder: Path, **kinds: Any) -> None:
    controlnet = new("FluxControlNetModel", in_channels=_PACKED_CHANNELS, guidance_embeds=True, **_BLOCKS, **kinds)
    with torch.no_grad():  # an untrained ControlNet has no influence at all: these layers are zero
        layers = (*controlnet.controlnet_blocks, *controlnet.controlnet_single_blocks, controlnet.controlnet_x_embedder)
        for layer in layers:
            torch.nn.init.normal_(layer.weight)
    controlnet.eval().save_pretrained(folder)


@reproducible
def save_chroma(folder: Path) -> None:
    """Save a Chroma pipeline."""
    blocks = {name: value for name, value in _BLOCKS.items() if name != "pooled_projection_dim"}
    chroma = transformer(
        "ChromaTransformer2DModel",
        in_channels=_PACKED_CHANNELS,
        approximator_num_channels=16,
        approximator_hidden_dim=32,
        approximator_layers=1,
        **blocks,
    )
    save_pipeline(
        "ChromaPipeline",
        folder,
        transformer=chroma,
        scheduler=new("FlowMatchEulerDiscreteScheduler"),
        vae=_flux_vae(),
        text_encoder=t5(),
        tokenizer=t5_tokenizer(),
    )


@reproducible
def save_flux2(folder: Path) -> None:
    """Save a FLUX.2 [dev] pipeline, whose prompt a Mistral model reads."""
    # The pipeline takes the hidden states after 10, 20 and 30 layers.
    text = {
        "model_type": "mistral",
        "vocab_size": 512,
        "hidden_size": LLM_WIDTH,
        "intermediate_size": 16,
        "max_position_embeddings": 512,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "num_hidden_layers": 31,
    }
    vision = {
        "model_type": "pixtral",
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "image_size": 28,
        "patch_size": 14,
    }
    config = Mistral3Config(text_config=text, vision_config=vision, image_token_index=1)
    save_pipeline(
        "Flux2Pipeline",
        folder,
        text_encoder=Mistral3ForConditionalGeneration(config),
        tokenizer=_pixtral_processor(),
        **_flux2(guidance_embeds=True),
    )


@reproducible
def save_flux2_klein(folder: Path) -> None:
    """Save a FLUX.2 [klein] pipeline, whose prompt a Qwen3 model reads."""
    save_pipeline(
        "Flux2KleinPipeline",
        folder,
        text_encoder=Qwen3ForCausalLM(qwen3_config(layers=28)),  # hidden states are taken after 9, 18 and 27
        tokenizer=byte_tokenizer(),
        **_flux2(guidance_embeds=False),
    )


def _flux(**changes: Any) -> dict[str, Any]:
    config = {"in_channels": _PACKED_CHANNELS, "guidance_embeds": True, **_BLOCKS, **changes}
    return clip() | {
        "transformer": transformer("FluxTransformer2DModel", **config),
        "scheduler": new("FlowMatchEulerDiscreteScheduler"),
        "vae": _flux_vae(),
        "text_encoder_2": t5(),
        "tokenizer_2": t5_tokenizer(),
    }


def _flux_vae() -> Any:
    return vae(latent_channels=_LATENT_CHANNELS, shift_factor=0.0609, scaling_factor=1.5035)


def _flux2(*, guidance_embeds: bool) -> dict[str, Any]:
    blocks = {name: value for name, value in _BLOCKS.items() if name != "pooled_projection_dim"}
    config = blocks | {"joint_attention_dim": 3 * LLM_WIDTH, "axes_dims_rope": (4, 4, 4, 4)}
    return {
        "transformer": transformer(
            "Flux2Transformer2DModel", in_channels=_PACKED_CHANNELS, guidance_embeds=guidance_embeds, **config
        ),
        "scheduler": new("FlowMatchEulerDiscreteScheduler", use_dynamic_shifting=True),
        "vae": vae("AutoencoderKLFlux2", latent_channels=_LATENT_CHANNELS),
    }


def _pixtral_processor() -> Any:
    tokenizer = byte_tokenizer(specials=("[IMG]", "[IMG_BREAK]", "[IMG_END]"), chat_template=_MISTRAL_CHAT)
    return PixtralProcessor(PixtralImageProcessor(), tokenizer, chat_template=_MISTRAL_CHAT)
