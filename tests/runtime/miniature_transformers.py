"""Miniatures of the pipelines that draw with a transformer, the FLUX family aside."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    Gemma2Config,
    Gemma2Model,
    GemmaTokenizer,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3Model,
)

from runtime.miniature_parts import (
    CLIP_WIDTH,
    LETTERS,
    LLM_WIDTH,
    SECOND_CLIP_WIDTH,
    T5_WIDTH,
    byte_tokenizer,
    causal_vae,
    clip_tokenizer,
    new,
    projecting_clip,
    qwen3_config,
    reproducible,
    save_pipeline,
    t5,
    t5_tokenizer,
    transformer,
    vae,
)

_SD3: dict[str, Any] = {
    "sample_size": 32,
    "patch_size": 2,
    "in_channels": 16,  # the one number that its inpainting accepts
    "out_channels": 16,
    "num_layers": 2,
    "attention_head_dim": 8,
    "num_attention_heads": 4,
    "caption_projection_dim": 32,
    "joint_attention_dim": CLIP_WIDTH + SECOND_CLIP_WIDTH,
    "pooled_projection_dim": CLIP_WIDTH + SECOND_CLIP_WIDTH,
    "pos_embed_max_size": 64,
}


@reproducible
def save_sd3(folder: Path) -> None:
    """Save a Stable Diffusion 3 pipeline."""
    sd3 = transformer("SD3Transformer2DModel", **_SD3)
    first = projecting_clip(CLIP_WIDTH)
    torch.nn.init.eye_(first.text_projection.weight)  # a single file does not hold it: it is always this
    save_pipeline(
        "StableDiffusion3Pipeline",
        folder,
        transformer=sd3,
        scheduler=new("FlowMatchEulerDiscreteScheduler", shift=3.0),
        vae=vae(latent_channels=16, shift_factor=0.0609, scaling_factor=1.5305),
        text_encoder=first,
        tokenizer=clip_tokenizer(),
        text_encoder_2=projecting_clip(SECOND_CLIP_WIDTH),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5(CLIP_WIDTH + SECOND_CLIP_WIDTH),
        tokenizer_3=t5_tokenizer(),
    )


@reproducible
def save_sd3_controlnet(folder: Path) -> None:
    """Save a ControlNet for the Stable Diffusion 3 miniature, in whose layout it is but for its first block's name."""
    controlnet = new("SD3ControlNetModel", **_SD3, extra_conditioning_channels=0)
    with torch.no_grad():  # an untrained ControlNet has no influence at all: these layers are zero
        for layer in (*controlnet.controlnet_blocks, controlnet.pos_embed_input.proj):
            torch.nn.init.normal_(layer.weight)
    controlnet.eval().save_pretrained(folder)


@reproducible
def save_pixart(folder: Path) -> None:
    """Save a PixArt-Sigma pipeline."""
    pixart = transformer(
        "PixArtTransformer2DModel",
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=8,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        caption_channels=T5_WIDTH,
    )
    save_pipeline(
        "PixArtSigmaPipeline",
        folder,
        transformer=pixart,
        scheduler=new("DPMSolverMultistepScheduler"),
        vae=vae(latent_channels=4),
        text_encoder=t5(),
        tokenizer=t5_tokenizer(),
    )


@reproducible
def save_sana(folder: Path) -> None:
    """Save a Sana pipeline, whose prompt a Gemma model reads."""
    sana = transformer(
        "SanaTransformer2DModel",
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=8,
        num_cross_attention_heads=2,
        cross_attention_head_dim=8,
        cross_attention_dim=LLM_WIDTH,
        caption_channels=LLM_WIDTH,
        sample_size=8,
    )
    autoencoder = new(
        "AutoencoderDC",
        in_channels=3,
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=("ResBlock",) * 3 + ("EfficientViTBlock",),
        decoder_block_types=("ResBlock",) * 3 + ("EfficientViTBlock",),
        encoder_block_out_channels=(4,) * 4,
        decoder_block_out_channels=(4,) * 4,
        encoder_qkv_multiscales=((), (), (), (5,)),
        decoder_qkv_multiscales=((), (), (), (5,)),
        encoder_layers_per_block=(1,) * 4,
        decoder_layers_per_block=(1,) * 4,
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        scaling_factor=0.41407,
    )
    words = ["<pad>", "<eos>", "<bos>", "<unk>", "▁", *LETTERS]
    tokenizer = GemmaTokenizer(vocab={word: place for place, word in enumerate(words)}, merges=[])
    config = Gemma2Config(
        vocab_size=len(words),
        hidden_size=LLM_WIDTH,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
    )
    save_pipeline(
        "SanaPipeline",
        folder,
        transformer=sana,
        scheduler=new("FlowMatchEulerDiscreteScheduler", shift=3.0),
        vae=autoencoder,
        text_encoder=Gemma2Model(config),
        tokenizer=tokenizer,
    )


@reproducible
def save_z_image(folder: Path) -> None:
    """Save a Z-Image pipeline, whose prompt a Qwen3 model reads."""
    z_image = transformer(
        "ZImageTransformer2DModel",
        in_channels=4,
        dim=32,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=LLM_WIDTH,
        axes_dims=(8, 4, 4),
        axes_lens=(1024, 64, 64),
    )
    for padding in (z_image.x_pad_token, z_image.cap_pad_token):
        padding.data.zero_()  # memory as it happened to be
    save_pipeline(
        "ZImagePipeline",
        folder,
        transformer=z_image,
        scheduler=new("FlowMatchEulerDiscreteScheduler", shift=3.0),
        vae=vae(latent_channels=4, scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=Qwen3Model(qwen3_config(layers=2)),
        tokenizer=byte_tokenizer(),
    )


@reproducible
def save_qwen_image(folder: Path) -> None:
    """Save a Qwen-Image pipeline."""
    save_pipeline("QwenImagePipeline", folder, **_qwen_image())


@reproducible
def save_qwen_image_edit(folder: Path) -> None:
    """Save a Qwen-Image-Edit pipeline, which changes a picture as the prompt says."""
    save_pipeline("QwenImageEditPipeline", folder, processor=_qwen_processor(), **_qwen_image())


@reproducible
def save_qwen_image_edit_plus(folder: Path) -> None:
    """Save a Qwen-Image-Edit pipeline of the kind that takes several pictures."""
    save_pipeline("QwenImageEditPlusPipeline", folder, processor=_qwen_processor(), **_qwen_image())


def _qwen_image() -> dict[str, Any]:
    latent_channels = 4
    qwen_image = transformer(
        "QwenImageTransformer2DModel",
        patch_size=2,
        in_channels=4 * latent_channels,
        out_channels=latent_channels,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=LLM_WIDTH,
        axes_dims_rope=(8, 4, 4),
    )
    return {
        "transformer": qwen_image,
        "scheduler": new("FlowMatchEulerDiscreteScheduler", use_dynamic_shifting=True),
        "vae": causal_vae("AutoencoderKLQwenImage", base_dim=2, latent_channels=latent_channels),
        "text_encoder": _qwen_vl(),
        "tokenizer": byte_tokenizer(),
    }


def _qwen_vl() -> Any:
    tokenizer = byte_tokenizer()
    text = {
        "vocab_size": 512,
        "hidden_size": LLM_WIDTH,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0, "mrope_section": [1, 1, 2]},
    }
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": LLM_WIDTH}
    tokens = {"image": "image_pad", "video": "video_pad", "vision_start": "vision_start", "vision_end": "vision_end"}
    ids = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(f"<|{token}|>") for name, token in tokens.items()}
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids))


def _qwen_processor() -> Any:
    processor: Any = Qwen2VLProcessor
    pixels: dict[str, Any] = {"min_pixels": 56 * 56, "max_pixels": 56 * 56}
    return processor(Qwen2VLImageProcessor(**pixels), byte_tokenizer(), Qwen2VLVideoProcessor(**pixels))
