"""Names and shapes of tensors, as the makers of models and llama-box's converter write them; no weights."""

from heliograph_runtime.engines.sdcpp.known import Defaults
from runtime.sdcpp_files import Shapes

P = "model.diffusion_model."
VAE: Shapes = {"first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3)}
VAE_16: Shapes = {"first_stage_model.decoder.conv_in.weight": (512, 16, 3, 3)}


def prefixed(start: str, shapes: Shapes) -> Shapes:
    """Return shapes under names that start so."""
    return {start + name: shape for name, shape in shapes.items()}


def clip(width: int) -> Shapes:
    """Return what tells a CLIP text encoder."""
    return {"text_model.embeddings.token_embedding.weight": (49408, width)}


T5: Shapes = {"encoder.block.0.layer.0.SelfAttention.q.weight": (4096, 4096)}
T5_GGUF: Shapes = {"enc.blk.0.attn_q.weight": (4096, 4096), "token_embd.weight": (32128, 4096)}
LLM: Shapes = {"model.layers.0.self_attn.q_proj.weight": (3584, 3584)}
LLM_GGUF: Shapes = {"blk.0.attn_q.weight": (3584, 3584), "output.weight": (152064, 3584)}
WAN_VAE: Shapes = {"decoder.conv1.weight": (384, 16, 3, 3, 3)}
FLUX_VAE: Shapes = {"decoder.conv_in.weight": (512, 16, 3, 3)}
TAE: Shapes = {"decoder.layers.0.weight": (64, 16, 3, 3)}

CLIP_L = prefixed("cond_stage_model.transformer.", clip(768))
SD2_CLIP: Shapes = {"cond_stage_model.model.token_embedding.weight": (49408, 1024)}
SD2_CLIP_BOX = prefixed("cond_stage_model.transformer.", clip(1024))
XL_CLIPS = {
    **prefixed("conditioner.embedders.0.transformer.", clip(768)),
    "conditioner.embedders.1.model.token_embedding.weight": (49408, 1280),
}
XL_CLIPS_BOX = {**CLIP_L, **prefixed("cond_stage_model.1.transformer.", clip(1280))}
SD3_ENCODERS = {
    **prefixed("text_encoders.clip_l.transformer.", clip(768)),
    **prefixed("text_encoders.clip_g.transformer.", clip(1280)),
    **prefixed("text_encoders.t5xxl.transformer.", T5),
}
FLUX_ENCODERS = {
    **prefixed("text_encoders.clip_l.transformer.", clip(768)),
    **prefixed("text_encoders.t5xxl.transformer.", T5),
}
SD3_ENCODERS_BOX = {**XL_CLIPS_BOX, **prefixed("cond_stage_model.2.transformer.", T5)}
FLUX_ENCODERS_BOX = {**CLIP_L, **prefixed("cond_stage_model.1.transformer.", T5)}


def unet(channels: int = 4, *, middle: bool = True) -> Shapes:
    """Return what tells a U-Net."""
    attention: Shapes = {"middle_block.1.norm.weight": (1280,)} if middle else {}
    return {"input_blocks.0.0.weight": (320, channels, 3, 3), "output_blocks.7.1.norm.weight": (640,), **attention}


def sd3(blocks: int, *, twice: bool = False) -> Shapes:
    """Return what tells a Stable Diffusion 3; `twice` is that of 3.5 Medium."""
    names = {f"joint_blocks.{index}.x_block.attn.proj.weight": (64 * blocks, 64 * blocks) for index in range(blocks)}
    return {**names, **({"joint_blocks.0.x_block.attn2.qkv.weight": (4608, 1536)} if twice else {})}


def flux(channels: int = 64, *, guidance: bool = True, doubles: int = 19) -> Shapes:
    """Return what tells a FLUX.1."""
    names = {f"double_blocks.{index}.txt_attn.proj.weight": (3072, 3072) for index in range(doubles)}
    embedding: Shapes = {"guidance_in.in_layer.weight": (3072, 256)} if guidance else {}
    return {"img_in.weight": (3072, channels), **names, **embedding}


def flux2(singles: int) -> Shapes:
    """Return what tells a FLUX.2."""
    names = {f"single_blocks.{index}.linear1.weight": (9, 9) for index in range(singles)}
    return {
        "double_stream_modulation_img.lin.weight": (9, 9),
        "img_in.weight": (6144, 128),
        **names,
        "double_blocks.0.a": (1,),
    }


def wan(layers: int, width: int, channels: int, **more: tuple[int, ...]) -> Shapes:
    """Return what tells a Wan model."""
    names = {f"blocks.{index}.cross_attn.norm_k.weight": (width,) for index in range(layers)}
    return {"patch_embedding.weight": (width, channels, 1, 2, 2), **names, **more}


OLD = Defaults(20, 9.0, None, "euler_a", 512, 512)
XL = Defaults(25, 5.0, None, "euler", 1024, 1024)
SD3 = Defaults(20, 4.5, None, "euler", 1024, 1024)
DEV = Defaults(20, 1.0, 3.5, "euler", 1024, 1024)

# Files in which llama-box's converter put all parts under its own names. Variants that were only trained further (v1-4
# and v1-5, the turbo ones) and those with fewer blocks (FLUX.1-lite, mini) get the values of what they were made from.
GPUSTACK: dict[str, tuple[Shapes, str, Defaults]] = {
    "stabilityai/stable-diffusion-3.5-large-turbo": (
        {**prefixed(P, sd3(38)), **SD3_ENCODERS_BOX, **VAE_16}, "sd3.5-large", SD3,
    ),
    "stabilityai/stable-diffusion-3.5-large": (
        {**prefixed(P, sd3(38)), **SD3_ENCODERS_BOX, **VAE_16}, "sd3.5-large", SD3,
    ),
    "stabilityai/stable-diffusion-3.5-medium": (
        {**prefixed(P, sd3(24, twice=True)), **SD3_ENCODERS_BOX, **VAE_16}, "sd3.5-medium", SD3,
    ),
    "stabilityai/stable-diffusion-3-medium": (
        {**prefixed(P, sd3(24)), **SD3_ENCODERS_BOX, **VAE_16}, "sd3-medium", SD3,
    ),
    "TencentARC/FLUX.1-mini": ({**prefixed(P, flux(doubles=5)), **FLUX_ENCODERS_BOX, **VAE_16}, "flux-dev", DEV),
    "Freepik/FLUX.1-lite": ({**prefixed(P, flux(doubles=8)), **FLUX_ENCODERS_BOX, **VAE_16}, "flux-dev", DEV),
    "black-forest-labs/FLUX.1-dev": ({**prefixed(P, flux()), **FLUX_ENCODERS_BOX, **VAE_16}, "flux-dev", DEV),
    "black-forest-labs/FLUX.1-schnell": (
        {**prefixed(P, flux(guidance=False)), **FLUX_ENCODERS_BOX, **VAE_16}, "flux-schnell", Defaults(4, 1.0),
    ),
    "stabilityai/sdxl-turbo": ({**prefixed(P, unet()), **XL_CLIPS_BOX, **VAE}, "sdxl", XL),
    "stabilityai/stable-diffusion-xl-base-1.0": ({**prefixed(P, unet()), **XL_CLIPS_BOX, **VAE}, "sdxl", XL),
    "stabilityai/sd-turbo": ({**prefixed(P, unet()), **SD2_CLIP_BOX, **VAE}, "sd2", OLD),
    "stabilityai/stable-diffusion-2-1": ({**prefixed(P, unet()), **SD2_CLIP_BOX, **VAE}, "sd2", OLD),
    "stable-diffusion-v1-5/stable-diffusion-v1-5": ({**prefixed(P, unet()), **CLIP_L, **VAE}, "sd1", OLD),
    "CompVis/stable-diffusion-v1-4": ({**prefixed(P, unet()), **CLIP_L, **VAE}, "sd1", OLD),
}  # fmt: skip
"""Of the 15 models of GPUStack's docs/user-guide/image-generation-apis.md those that the library runs: all but one."""
GPUSTACK_REFINER = {**prefixed(P, unet()), **prefixed("cond_stage_model.transformer.", clip(1280)), **VAE}
"""The other: stabilityai/stable-diffusion-xl-refiner-1.0."""
GPUSTACK_INPAINTING: dict[str, tuple[Shapes, str, Defaults]] = {
    "stable-diffusion-v1-5-inpainting-GGUF": (
        {**prefixed(P, unet(9)), **CLIP_L, **VAE}, "sd1-inpaint", Defaults(50, 9.0, None, "euler_a", 512, 512),
    ),
    "stable-diffusion-v2-inpainting-GGUF": (
        {**prefixed(P, unet(9)), **SD2_CLIP_BOX, **VAE}, "sd2-inpaint", Defaults(50, 9.0, None, "euler_a", 512, 512),
    ),
    "stable-diffusion-xl-inpainting-1.0-GGUF": (
        {**prefixed(P, unet(9)), **XL_CLIPS_BOX, **VAE}, "sdxl-inpaint", Defaults(50, 5.0),
    ),
    "FLUX.1-Fill-dev-GGUF": (
        {**prefixed(P, flux(384)), **FLUX_ENCODERS_BOX, **VAE_16}, "flux-fill", Defaults(50, 1.0, 30.0),
    ),
}  # fmt: skip
"""Those of its collection of converted models that the document leaves out."""
