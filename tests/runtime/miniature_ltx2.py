"""Miniatures of the LTX-2 pipelines, which draw a clip and its sound."""

from pathlib import Path
from typing import Any

from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors
from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder
from transformers import Gemma3Config, Gemma3ForConditionalGeneration

from runtime.miniature_parts import LLM_WIDTH, byte_tokenizer, new, reproducible, save_pipeline, transformer

_TEXT_LAYERS = 2
_MEL_BINS = 8


@reproducible
def save_ltx2(folder: Path) -> None:
    """Save an LTX-2 pipeline, which draws from text."""
    save_pipeline("LTX2Pipeline", folder, **_parts())


@reproducible
def save_ltx2_image(folder: Path) -> None:
    """Save an LTX-2 pipeline that sets a picture in motion."""
    save_pipeline("LTX2ImageToVideoPipeline", folder, **_parts())


def _parts() -> dict[str, Any]:
    audio_vae = new(
        "AutoencoderKLLTX2Audio",
        base_channels=4,
        ch_mult=(1,),
        num_res_blocks=1,
        latent_channels=2,
        mel_bins=_MEL_BINS,
    )
    vocoder = LTX2Vocoder(
        in_channels=2 * _MEL_BINS,
        hidden_channels=8,
        upsample_kernel_sizes=[4, 4],
        upsample_factors=[2, 2],
        resnet_kernel_sizes=[3],
        resnet_dilations=[[1, 3, 5]],
    )
    return {
        "transformer": _transformer(),
        "scheduler": new("FlowMatchEulerDiscreteScheduler", use_dynamic_shifting=True),
        "vae": _vae(),
        "audio_vae": audio_vae,
        "vocoder": vocoder,
        "text_encoder": _gemma(),
        "tokenizer": byte_tokenizer(specials=("<bos>",)),
        "connectors": _connectors(),
    }


def _transformer() -> Any:
    return transformer(
        "LTX2VideoTransformer3DModel",
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        audio_in_channels=2 * _MEL_BINS // 4,
        audio_out_channels=2 * _MEL_BINS // 4,
        audio_num_attention_heads=2,
        audio_attention_head_dim=4,
        audio_cross_attention_dim=8,
        num_layers=1,
        caption_channels=LLM_WIDTH,
        rope_double_precision=False,
        rope_type="split",
    )


def _vae() -> Any:
    return new(
        "AutoencoderKLLTX2Video",
        latent_channels=4,
        block_out_channels=(8,) * 4,
        decoder_block_out_channels=(8,) * 3,
        layers_per_block=(1,) * 4,
        decoder_layers_per_block=(1,) * 4,
        decoder_spatio_temporal_scaling=(True,) * 3,
        decoder_inject_noise=(False,) * 4,
        upsample_residual=(False,) * 3,
        upsample_factor=(1,) * 3,
        spatial_compression_ratio=32,
        temporal_compression_ratio=8,
    )


def _connectors() -> Any:
    sizes = {
        f"{kind}_connector_{size}": value
        for kind in ("video", "audio")
        for size, value in {
            "num_attention_heads": 2, "attention_head_dim": 8, "num_layers": 1, "num_learnable_registers": None
        }.items()
    }  # fmt: skip
    return LTX2TextConnectors(
        caption_channels=LLM_WIDTH,
        text_proj_in_factor=_TEXT_LAYERS + 1,
        connector_rope_base_seq_len=32,
        rope_double_precision=False,
        rope_type="split",
        **sizes,
    )


def _gemma() -> Any:
    text = {
        "vocab_size": 512,
        "hidden_size": LLM_WIDTH,
        "intermediate_size": 16,
        "num_hidden_layers": _TEXT_LAYERS,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 8,
    }
    vision = {
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    config = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    return Gemma3ForConditionalGeneration(config)
