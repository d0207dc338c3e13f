"""Untrained pipelines of every family that is served, small enough to be made on the fly; nothing is fetched for them.

Each has the parts, the tokenizers and the way of being called that its family has. Prompt, pictures and seed show in
what it draws, and its weights are the same each time.
"""

from runtime.miniature_adapters import save_embedding, save_lora
from runtime.miniature_flux import (
    save_chroma,
    save_flux,
    save_flux2,
    save_flux2_klein,
    save_flux_controlnet,
    save_flux_fill,
    save_flux_kontext,
    save_flux_schnell,
    save_flux_union_controlnet,
)
from runtime.miniature_ltx2 import save_ltx2, save_ltx2_image
from runtime.miniature_transformers import (
    save_pixart,
    save_qwen_image,
    save_qwen_image_edit,
    save_qwen_image_edit_plus,
    save_sana,
    save_sd3,
    save_sd3_controlnet,
    save_z_image,
)
from runtime.miniature_unets import (
    save_depth,
    save_latent_upscale,
    save_lcm,
    save_sd,
    save_sd2,
    save_sd_controlnet,
    save_sd_inpaint,
    save_sdxl,
    save_sdxl_controlnet,
    save_sdxl_refiner,
    save_sdxl_union_controlnet,
    save_upscale,
)
from runtime.miniature_videos import (
    save_ltx,
    save_ltx_image,
    save_stable_video,
    save_text_to_video,
    save_wan,
    save_wan22_image,
    save_wan_image,
)

__all__ = [
    "save_chroma",
    "save_depth",
    "save_embedding",
    "save_flux",
    "save_flux2",
    "save_flux2_klein",
    "save_flux_controlnet",
    "save_flux_fill",
    "save_flux_kontext",
    "save_flux_schnell",
    "save_flux_union_controlnet",
    "save_latent_upscale",
    "save_lcm",
    "save_lora",
    "save_ltx",
    "save_ltx2",
    "save_ltx2_image",
    "save_ltx_image",
    "save_pixart",
    "save_qwen_image",
    "save_qwen_image_edit",
    "save_qwen_image_edit_plus",
    "save_sana",
    "save_sd",
    "save_sd2",
    "save_sd3",
    "save_sd3_controlnet",
    "save_sd_controlnet",
    "save_sd_inpaint",
    "save_sdxl",
    "save_sdxl_controlnet",
    "save_sdxl_refiner",
    "save_sdxl_union_controlnet",
    "save_stable_video",
    "save_text_to_video",
    "save_upscale",
    "save_wan",
    "save_wan22_image",
    "save_wan_image",
    "save_z_image",
]
