"""Miniatures of the pipelines that draw clips."""

from pathlib import Path
from typing import Any

from runtime.miniature_parts import (
    CLIP_WIDTH,
    T5_WIDTH,
    causal_vae,
    clip,
    clip_vision,
    heed_pictures,
    new,
    reproducible,
    save_pipeline,
    t5,
    t5_tokenizer,
    transformer,
    vae,
)

_IMAGE_WIDTH = 16
_WAN_LATENT_CHANNELS = 4
# The noise, a mask of the four frames that one latent frame stands for, and the picture.
_WAN_IMAGE_CHANNELS = _WAN_LATENT_CHANNELS + 4 + _WAN_LATENT_CHANNELS


@reproducible
def save_text_to_video(folder: Path) -> None:
    """Save a pipeline of the kind that LocalAI calls VideoDiffusionPipeline."""
    unet = new(
        "UNet3DConditionModel",
        sample_size=8,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=4,
        cross_attention_dim=CLIP_WIDTH,
    )
    scheduler = new("DDIMScheduler", beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    parts = clip() | {"unet": unet, "scheduler": scheduler, "vae": vae(latent_channels=4)}
    save_pipeline("TextToVideoSDPipeline", folder, **parts)


@reproducible
def save_stable_video(folder: Path) -> None:
    """Save a Stable Video Diffusion pipeline, which sets a picture in motion."""
    unet = new(
        "UNetSpatioTemporalConditionModel",
        sample_size=8,
        in_channels=8,
        out_channels=4,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        block_out_channels=(32, 64),  # in groups of one channel the frame rate would be normalised away
        layers_per_block=1,
        num_attention_heads=(2, 2),
        cross_attention_dim=_IMAGE_WIDTH,
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=3 * 8,
        num_frames=4,
    )
    scheduler = new(
        "EulerDiscreteScheduler",
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        sigma_max=700.0,
        sigma_min=0.002,
        timestep_type="continuous",
        use_karras_sigmas=True,
    )
    autoencoder = new(
        "AutoencoderKLTemporalDecoder",
        block_out_channels=(32,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        latent_channels=4,
    )
    heed_pictures(autoencoder.quant_conv)
    encoder, processor = clip_vision(width=_IMAGE_WIDTH)
    save_pipeline(
        "StableVideoDiffusionPipeline",
        folder,
        unet=unet,
        scheduler=scheduler,
        vae=autoencoder,
        image_encoder=encoder,
        feature_extractor=processor,
    )


@reproducible
def save_wan(folder: Path) -> None:
    """Save a Wan pipeline, which draws clips from text."""
    save_pipeline("WanPipeline", folder, **_wan(in_channels=_WAN_LATENT_CHANNELS))


@reproducible
def save_wan_image(folder: Path) -> None:
    """Save a Wan 2.1 pipeline that sets a picture in motion; it sees the picture through CLIP too."""
    encoder, processor = clip_vision(width=_IMAGE_WIDTH)
    parts = {"image_encoder": encoder, "image_processor": processor, "transformer_2": None}
    parts |= _wan(in_channels=_WAN_IMAGE_CHANNELS, image_dim=_IMAGE_WIDTH, added_kv_proj_dim=24)
    save_pipeline("WanImageToVideoPipeline", folder, **parts)


@reproducible
def save_wan22_image(folder: Path) -> None:
    """Save a Wan 2.2 pipeline, with a transformer of its own for the last steps; it also takes the last picture."""
    parts = _wan(in_channels=_WAN_IMAGE_CHANNELS)
    parts["transformer_2"] = _wan_transformer(in_channels=_WAN_IMAGE_CHANNELS)
    save_pipeline("WanImageToVideoPipeline", folder, boundary_ratio=0.9, **parts)


@reproducible
def save_ltx(folder: Path) -> None:
    """Save an LTX-Video pipeline, which draws clips from text."""
    save_pipeline("LTXPipeline", folder, **_ltx())


@reproducible
def save_ltx_image(folder: Path) -> None:
    """Save an LTX-Video pipeline that sets a picture in motion."""
    save_pipeline("LTXImageToVideoPipeline", folder, **_ltx())


def _wan(**changes: Any) -> dict[str, Any]:
    scheduler = new("UniPCMultistepScheduler", prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    return {
        "transformer": _wan_transformer(**changes),
        "scheduler": scheduler,
        "vae": causal_vae("AutoencoderKLWan", base_dim=4, latent_channels=_WAN_LATENT_CHANNELS),
        "text_encoder": t5(),
        "tokenizer": t5_tokenizer(),
    }


def _wan_transformer(**changes: Any) -> Any:
    return transformer(
        "WanTransformer3DModel",
        num_attention_heads=2,
        attention_head_dim=12,
        out_channels=_WAN_LATENT_CHANNELS,
        text_dim=T5_WIDTH,
        freq_dim=32,
        ffn_dim=32,
        num_layers=1,
        rope_max_seq_len=64,
        **changes,
    )


def _ltx() -> dict[str, Any]:
    ltx = transformer(
        "LTXVideoTransformer3DModel",
        in_channels=8,
        out_channels=8,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        num_layers=1,
        caption_channels=T5_WIDTH,
    )
    autoencoder = new(
        "AutoencoderKLLTXVideo",
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        decoder_inject_noise=(False,) * 5,
        upsample_residual=(False,) * 4,
        upsample_factor=(1,) * 4,
    )
    return {
        "transformer": ltx,
        "scheduler": new("FlowMatchEulerDiscreteScheduler", use_dynamic_shifting=True),
        "vae": autoencoder,
        "text_encoder": t5(),
        "tokenizer": t5_tokenizer(),
    }
