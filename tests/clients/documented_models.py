"""GGUF models as the source systems' documentation sets them up, and miniatures that draw in their place.

LocalAI's docs/content/features/image-generation.md and gallery/, sd-api-server's README.md and examples/, GPUStack's
docs/user-guide/image-generation-apis.md (v0.6).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from runtime import miniature_sdcpp, miniature_sdcpp_unets

Spec = dict[str, Any]

LOCALAI_CUSTOM = """\
name: stablediffusion
backend: stablediffusion-ggml
parameters:
  model: gguf_model.gguf
step: 25
cfg_scale: 4.5
options:
- "clip_l_path:clip_l.safetensors"
- "clip_g_path:clip_g.safetensors"
- "t5xxl_path:t5xxl-Q5_0.gguf"
- "sampler:euler"
"""
"""LocalAI's model file for a custom model."""
_LOCALAI_FLUX = """\
backend: stablediffusion-ggml
step: 25
options:
- "diffusion_model"
- "clip_l_path:clip_l.safetensors"
- "t5xxl_path:t5xxl_fp16.safetensors"
- "vae_path:ae.safetensors"
- "sampler:euler"

cfg_scale: 1
parameters:
  model: {model}
"""
LOCALAI_FLUX = _LOCALAI_FLUX.format(model="flux1-dev-Q2_K.gguf")
"""Its `flux.1-dev-ggml`, as the gallery writes it."""
LOCALAI_KONTEXT = _LOCALAI_FLUX.format(model="flux1-kontext-dev-Q8_0.gguf")
"""Its `flux.1-kontext-dev`."""

SMALL = 128
"""Sides of most pictures, in pixels."""
_TINY_VAE = "taesd_path:taef1.safetensors"
_LARGE = ("t5xxl_path:", "vae_path:", "clip_g_path:")


def localai(folder: Path) -> dict[str, Spec]:
    """Return the models of LocalAI's commands; the default is the first."""
    miniature_sdcpp.save_flux(folder)
    miniature_sdcpp.save_upscaler(folder / "RealESRGAN_x4plus_anime_6B.safetensors")
    for name in ("gguf_model.gguf", "flux1-kontext-dev-Q8_0.gguf"):
        (folder / name).hardlink_to(folder / "flux.gguf")
    upscaling = ["diffusion_model", "upscale_model_path:RealESRGAN_x4plus_anime_6B.safetensors"]
    return {
        "stablediffusion": _small(yaml.safe_load(LOCALAI_CUSTOM)),
        "flux.1-kontext-dev": _small(yaml.safe_load(LOCALAI_KONTEXT)),
        # LocalAI's own is the upscaler alone, in a pickle.
        "realesrgan-x4plus-anime-6b": _flux("flux.gguf", *upscaling),
    }


def sd_api_server(folder: Path) -> dict[str, Spec]:
    """Return the models of sd-api-server's commands that name no control image; the default is the first.

    `sd` draws the size that its command names, the other one 128x128 where a command names none: for the 512x512 of
    sd-api-server TAESD alone takes ten seconds on two slow CPUs.
    """
    miniature_sdcpp.save_flux(folder)
    (folder / "flux1-dev-Q4_0.gguf").hardlink_to(folder / "flux.gguf")
    (folder / "lora-models").mkdir()
    miniature_sdcpp.save_flux_lora(folder / "lora-models" / "realism_lora_comfy_converted.safetensors")
    spec = _flux("flux1-dev-Q4_0.gguf", "lora_dir:lora-models")
    aliases = {"aliases": ["flux1-schnell", "sd-v1.4"], "limits": {"maxPixels": SMALL * SMALL}}
    compat = {"compat": "sd-api-server"}
    return {"flux1-dev": spec | {"serving": compat | aliases}, "sd": spec | {"serving": compat}}


def sd_api_server_control(folder: Path) -> dict[str, Spec]:
    """Return the model of its commands with a control image."""
    miniature_sdcpp_unets.save_sd1_gguf(folder)
    (folder / "sd1.gguf").rename(folder / "stable-diffusion-v1-4-Q8_0.gguf")
    miniature_sdcpp_unets.save_sd1_controlnet(folder / "control_openpose-fp16.safetensors")
    miniature_sdcpp.save_taesd(folder / "taesd.safetensors", miniature_sdcpp.SD_LATENT_CHANNELS)
    return {
        "sd-v1.4": {
            "parameters": {"model": "stable-diffusion-v1-4-Q8_0.gguf"},
            "options": ["control_net_path:control_openpose-fp16.safetensors", "taesd_path:taesd.safetensors"],
            "serving": {"compat": "sd-api-server"},
        }
    }


def gpustack(folder: Path) -> dict[str, Spec]:
    """Return the model of GPUStack's commands: FLUX.1-dev in one file, whose encoder has names that are not read."""
    miniature_sdcpp.save_flux_all_in_one(folder, "cond_stage_model.")
    (folder / "flux_all_in_one.gguf").rename(folder / "FLUX.1-dev-Q4_0.gguf")
    miniature_sdcpp.save_clip(folder / "clip_l.safetensors")
    miniature_sdcpp.save_taesd(folder / "taef1.safetensors", miniature_sdcpp.FLUX_LATENT_CHANNELS)
    return {"flux.1-dev": _flux("FLUX.1-dev-Q4_0.gguf") | {"step": 4, "serving": {"compat": "gpustack"}}}


def _small(spec: Mapping[str, Any]) -> Spec:
    """Return a documented spec without what has one size in stable-diffusion.cpp that is too large for tests.

    T5-XXL and CLIP-G have 4.7 and 0.7 billion weights, and FLUX.1 draws without; the VAE takes a minute for a small
    picture on two slow CPUs, and TAESD may stand in for it.
    """
    options = [option for option in spec["options"] if not option.startswith(_LARGE)]
    return {**spec, "options": [*options, _TINY_VAE]}


def _flux(model: str, *options: str) -> Spec:
    parts = ["clip_l_path:clip_l.safetensors", _TINY_VAE]
    return {"parameters": {"model": model}, "options": [*parts, *options]}
