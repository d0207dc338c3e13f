"""Miniatures of the pipelines that draw with a UNet: Stable Diffusion and its relatives."""

from pathlib import Path
from typing import Any

import torch
from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessor

from runtime.miniature_parts import (
    CLIP_WIDTH,
    SECOND_CLIP_WIDTH,
    clip,
    clip_tokenizer,
    new,
    projecting_clip,
    reproducible,
    save_pipeline,
    vae,
)

_SD_BLOCKS: dict[str, Any] = {
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": 4,
    "cross_attention_dim": CLIP_WIDTH,
}
_SDXL_BLOCKS: dict[str, Any] = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "block_out_channels": (4, 8),
    "layers_per_block": 2,
    "norm_num_groups": 1,
    "attention_head_dim": (2, 4),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "transformer_layers_per_block": (1, 2),
    "projection_class_embeddings_input_dim": 6 * 8 + SECOND_CLIP_WIDTH,
    "cross_attention_dim": CLIP_WIDTH + SECOND_CLIP_WIDTH,
}


@reproducible
def save_sd(folder: Path) -> None:
    """Save a Stable Diffusion 1 pipeline of a native 64x64."""
    save_pipeline("StableDiffusionPipeline", folder, **_sd())


@reproducible
def save_sd2(folder: Path) -> None:
    """Save a Stable Diffusion 2 pipeline, which predicts velocities."""
    parts = _sd(use_linear_projection=True)
    scheduler = _noise("DDIMScheduler", prediction_type="v_prediction", clip_sample=False, steps_offset=1)
    save_pipeline("StableDiffusionPipeline", folder, **parts | {"scheduler": scheduler})


@reproducible
def save_sd_inpaint(folder: Path) -> None:
    """Save a Stable Diffusion pipeline that was made for inpainting: its UNet sees mask and masked picture too."""
    save_pipeline("StableDiffusionInpaintPipeline", folder, **_sd(in_channels=9))


@reproducible
def save_lcm(folder: Path) -> None:
    """Save a latent consistency model, whose UNet takes the guidance scale."""
    parts = _sd(time_cond_proj_dim=16) | {"scheduler": _noise("LCMScheduler")}
    save_pipeline("LatentConsistencyModelPipeline", folder, **parts)


@reproducible
def save_depth(folder: Path) -> None:
    """Save a depth-to-image pipeline with its depth estimator."""
    estimator = DPTConfig(
        image_size=32,
        patch_size=16,
        hidden_size=16,
        num_hidden_layers=4,
        backbone_out_indices=[0, 1, 2, 3],
        num_attention_heads=2,
        intermediate_size=16,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        is_hybrid=False,
    )
    parts = _parts(in_channels=5) | {
        "depth_estimator": DPTForDepthEstimation(estimator),
        "feature_extractor": DPTImageProcessor(size={"height": 32, "width": 32}),
    }
    save_pipeline("StableDiffusionDepth2ImgPipeline", folder, **parts)


@reproducible
def save_upscale(folder: Path) -> None:
    """Save a pipeline that makes a picture four times larger."""
    parts = _parts(in_channels=7, num_class_embeds=100, only_cross_attention=True) | {
        "vae": vae(latent_channels=4, levels=3, scaling_factor=0.08333),
        "low_res_scheduler": _noise("DDPMScheduler"),
        "scheduler": _noise("DDIMScheduler"),
        "max_noise_level": 99,
    }
    save_pipeline("StableDiffusionUpscalePipeline", folder, **parts)


@reproducible
def save_latent_upscale(folder: Path) -> None:
    """Save a pipeline that makes a picture twice as large, in the space of its latents."""
    unet = new(
        "UNet2DConditionModel",
        down_block_types=("KDownBlock2D", "KCrossAttnDownBlock2D", "KCrossAttnDownBlock2D"),
        up_block_types=("KCrossAttnUpBlock2D", "KCrossAttnUpBlock2D", "KUpBlock2D"),
        mid_block_type=None,
        block_out_channels=(32, 64, 64),
        layers_per_block=1,
        attention_head_dim=8,
        norm_num_groups=None,
        act_fn="gelu",
        time_embedding_type="fourier",
        timestep_post_act="gelu",
        time_cond_proj_dim=2 * 64 + CLIP_WIDTH,
        resnet_time_scale_shift="scale_shift",
        conv_in_kernel=1,
        conv_out_kernel=1,
        cross_attention_dim=CLIP_WIDTH,
        in_channels=8,
        out_channels=5,
    )
    scheduler = _noise("EulerDiscreteScheduler", prediction_type="sample")
    save_pipeline("StableDiffusionLatentUpscalePipeline", folder, **_parts() | {"unet": unet, "scheduler": scheduler})


@reproducible
def save_sd_controlnet(folder: Path) -> None:
    """Save a ControlNet for the Stable Diffusion miniature."""
    _save_controlnet(folder, **_SD_BLOCKS)


@reproducible
def save_sdxl(folder: Path) -> None:
    """Save a Stable Diffusion XL pipeline of a native 256x256."""
    save_pipeline("StableDiffusionXLPipeline", folder, **clip(), **_sdxl())


@reproducible
def save_sdxl_refiner(folder: Path) -> None:
    """Save a Stable Diffusion XL refiner: one text encoder, and a score of beauty in place of the target size."""
    unet = {
        "cross_attention_dim": SECOND_CLIP_WIDTH,
        "projection_class_embeddings_input_dim": 5 * 8 + SECOND_CLIP_WIDTH,
    }
    parts = _sdxl(**unet) | {"text_encoder": None, "tokenizer": None, "requires_aesthetics_score": True}
    save_pipeline("StableDiffusionXLImg2ImgPipeline", folder, **parts)


@reproducible
def save_sdxl_controlnet(folder: Path) -> None:
    """Save a ControlNet for the Stable Diffusion XL miniature."""
    _save_controlnet(folder, **_SDXL_BLOCKS)


@reproducible
def save_sdxl_union_controlnet(folder: Path) -> None:
    """Save a ControlNet for six kinds of control images, for the Stable Diffusion XL miniature."""
    width = _SDXL_BLOCKS["block_out_channels"][0]
    _save_controlnet(
        folder,
        "ControlNetUnionModel",
        num_trans_channel=width,
        num_trans_head=1,
        num_proj_channel=width,
        **_SDXL_BLOCKS,
    )


def _sd(**unet: Any) -> dict[str, Any]:
    return _parts(**unet) | {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def _parts(**unet: Any) -> dict[str, Any]:
    up_blocks = ("UpBlock2D", "CrossAttnUpBlock2D")
    return clip() | {
        "unet": new("UNet2DConditionModel", sample_size=8, up_block_types=up_blocks, **_SD_BLOCKS, **unet),
        "scheduler": _noise("PNDMScheduler", skip_prk_steps=True, steps_offset=1),
        "vae": vae(latent_channels=4),
    }


def _sdxl(**unet: Any) -> dict[str, Any]:
    blocks = {**_SDXL_BLOCKS, **unet}
    up_blocks = ("CrossAttnUpBlock2D", "UpBlock2D")
    return {
        "unet": new("UNet2DConditionModel", sample_size=32, up_block_types=up_blocks, **blocks),
        "scheduler": _noise("EulerDiscreteScheduler"),
        "vae": vae(latent_channels=4, scaling_factor=0.13025),
        "text_encoder_2": projecting_clip(SECOND_CLIP_WIDTH),
        "tokenizer_2": clip_tokenizer(),
    }


def _noise(name: str, **config: Any) -> Any:
    return new(name, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", **config)


def _save_controlnet(folder: Path, kind: str = "ControlNetModel", **blocks: Any) -> None:
    controlnet = new(kind, conditioning_embedding_out_channels=(8, 8, 8, 8), **blocks)
    with torch.no_grad():  # an untrained ControlNet has no influence at all: its last layers are zero
        for layer in (*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block):
            torch.nn.init.normal_(layer.weight, std=0.2)
        for weight in controlnet.controlnet_cond_embedding.parameters():
            torch.nn.init.normal_(weight, std=0.25)
    controlnet.eval().save_pretrained(folder)
