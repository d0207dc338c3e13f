"""Untrained pipelines of other families, small enough to be made on the fly; nothing is fetched for them."""

from pathlib import Path
from typing import Any

import diffusers
import torch
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

_WORDS = [f"{letter}{end}" for end in ("", "</w>") for letter in "abcdefghijklmnopqrstuvwxyz"]


def save_sdxl(folder: Path) -> None:
    """Save a Stable Diffusion XL pipeline of a native 256x256."""
    unet = _new(
        "UNet2DConditionModel",
        block_out_channels=(2, 4),
        layers_per_block=2,
        sample_size=32,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        transformer_layers_per_block=(1, 2),
        projection_class_embeddings_input_dim=80,
        cross_attention_dim=64,
        norm_num_groups=1,
    )
    pipeline = _new(
        "StableDiffusionXLPipeline",
        unet=unet,
        scheduler=_new("EulerDiscreteScheduler", beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
        vae=_vae(latent_channels=4),
        text_encoder=CLIPTextModel(_clip_config()),
        tokenizer=_clip_tokenizer(),
        text_encoder_2=CLIPTextModelWithProjection(_clip_config()),
        tokenizer_2=_clip_tokenizer(),
    )
    _save(pipeline, folder)


def save_flux(folder: Path) -> None:
    """Save a FLUX.1 pipeline."""
    transformer = _new(
        "FluxTransformer2DModel",
        patch_size=1,
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=True,
    )
    pipeline = _new(
        "FluxPipeline",
        transformer=transformer,
        scheduler=_new("FlowMatchEulerDiscreteScheduler"),
        vae=_vae(latent_channels=1),
        text_encoder=CLIPTextModel(_clip_config()),
        tokenizer=_clip_tokenizer(),
        text_encoder_2=_t5(),
        tokenizer_2=_t5_tokenizer(),
    )
    _save(pipeline, folder)


def save_sd3(folder: Path) -> None:
    """Save a Stable Diffusion 3 pipeline."""
    transformer = _new(
        "SD3Transformer2DModel",
        sample_size=32,
        patch_size=2,
        in_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=32,
        pooled_projection_dim=64,
        out_channels=4,
    )
    pipeline = _new(
        "StableDiffusion3Pipeline",
        transformer=transformer,
        scheduler=_new("FlowMatchEulerDiscreteScheduler"),
        vae=_vae(latent_channels=4),
        text_encoder=CLIPTextModelWithProjection(_clip_config()),
        tokenizer=_clip_tokenizer(),
        text_encoder_2=CLIPTextModelWithProjection(_clip_config()),
        tokenizer_2=_clip_tokenizer(),
        text_encoder_3=_t5(),
        tokenizer_3=_t5_tokenizer(),
    )
    _save(pipeline, folder)


def _new(name: str, **config: Any) -> Any:
    return getattr(diffusers, name)(**config)


def _save(pipeline: Any, folder: Path) -> None:
    for component in pipeline.components.values():
        if isinstance(component, torch.nn.Module):
            component.eval()
    pipeline.save_pretrained(folder)


def _vae(*, latent_channels: int) -> Any:
    return _new(
        "AutoencoderKL",
        block_out_channels=(4, 4, 4, 4),
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=latent_channels,
        norm_num_groups=1,
        shift_factor=0.0609,
        scaling_factor=1.5035,
    )


def _clip_config() -> Any:
    return CLIPTextConfig(
        vocab_size=len(_WORDS) + 2,
        hidden_size=32,
        projection_dim=32,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=3,
        max_position_embeddings=77,
        bos_token_id=len(_WORDS),
        eos_token_id=len(_WORDS) + 1,
        pad_token_id=1,
    )


def _clip_tokenizer() -> Any:
    words = [*_WORDS, "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab={word: place for place, word in enumerate(words)}, merges=[])
    tokenizer.model_max_length = 77
    return tokenizer


def _t5() -> Any:
    return T5EncoderModel(
        T5Config(vocab_size=64, d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4, dropout_rate=0.1)
    )


def _t5_tokenizer() -> Any:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -1.0)]
    pieces += [(letter, -2.0) for letter in "abcdefghijklmnopqrstuvwxyz"]
    tokenizer = T5Tokenizer(vocab=pieces, extra_ids=0)
    tokenizer.model_max_length = 77
    return tokenizer
