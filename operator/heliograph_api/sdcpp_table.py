"""Options that have an effect on models of stable-diffusion.cpp, spelt as LocalAI documents them, with what they do."""

from collections.abc import Mapping
from typing import Literal

Names = Literal["prediction", "rng_type", "lora_apply_mode", "type"]
"""Lists of names that the library has."""

PATHS: Mapping[str, str] = {
    "diffusion_model_path": "the diffusion model, where parameters.model names none",
    "clip_l_path": "CLIP-L, a text encoder",
    "clip_g_path": "CLIP-G, a text encoder",
    "t5xxl_path": "T5-XXL, a text encoder",
    "llm_path": "the language model that encodes text for Qwen-Image, Z-Image and FLUX.2",
    "llm_vision_path": "its image encoder",
    "vae_path": "the VAE",
    "taesd_path": "TAESD, a small VAE",
    "control_net_path": "a ControlNet",
    "clip_vision_path": "CLIP's image encoder, by which Wan 2.1 sees a clip's first picture",
    "high_noise_diffusion_model_path": "the diffusion model for the first steps of Wan 2.2's larger models",
}
"""Options that name a file, relative to the models folder, and are fields of the same name in the library."""

SWITCHES: Mapping[str, str] = {
    "diffusion_flash_attn": "flash attention in the diffusion model",
    "flash_attn": "flash attention everywhere",
    "diffusion_conv_direct": "convolutions of the diffusion model without a matrix of their inputs",
    "vae_conv_direct": "likewise for the VAE",
    "force_sdxl_vae_conv_scale": "SDXL's VAE scaled so that it does not overflow in half precision",
    "chroma_use_dit_mask": "Chroma's mask in the diffusion model",
    "chroma_use_t5_mask": "Chroma's mask for T5",
    "qwen_image_zero_cond_t": "Qwen-Image's conditioning at time zero",
    "offload_params_to_cpu": "weights are kept in main memory and brought to the device as they are needed",
    "enable_mmap": "weights are mapped into memory rather than read",
    "keep_clip_on_cpu": "text encoders run on the CPU",
    "keep_vae_on_cpu": "the VAE runs on the CPU",
    "keep_control_net_on_cpu": "the ControlNet runs on the CPU",
    "circular_x": "pictures whose left and right edges meet",
    "circular_y": "pictures whose upper and lower edges meet",
}
"""Options that are true or false, and are fields of the same name in the library; without a value they are true."""

CHOICES: Mapping[str, tuple[Names, str]] = {
    "prediction": ("prediction", "what the model predicts"),
    "rng_type": ("rng_type", "random numbers of the first noise"),
    "sampler_rng_type": ("rng_type", "random numbers of the sampler"),
    "lora_apply_mode": ("lora_apply_mode", "when LoRA adapters are applied"),
    "wtype": ("type", "number type that weights are converted to as they are loaded"),
}
"""Options with a name out of one of the library's lists, and fields of the same name in the library."""

_OTHERS: Mapping[str, str] = {
    "diffusion_model": "parameters.model is a diffusion model alone; the other parts are named by options",
    "sampler": "sampler of a request that names none",
    "scheduler": "schedule of a request that names none",
    "flow_shift": "shift of a flow model's schedule",
    "n_threads": "CPU threads; spec.threads when absent",
    "max_vram": "GiB of a GPU's memory to use; 0 for all, and so is -1, with a warning",
    "backend": "`te=cpu` or `clip=cpu`, `vae=cpu`, `controlnet=cpu`: keep_clip_on_cpu and the like; no other devices",
    "params_backend": "`*=cpu` or `cpu`: offload_params_to_cpu; nothing else",
    "chroma_t5_mask_pad": "tokens that Chroma's mask leaves in",
    "tensor_type_rules": "number types by the names of tensors, `REGEX=TYPE,...`",
    "vae_tiling": "the VAE works in tiles",
    "vae_tile_size": "size of a tile, `512` or `512x384` pixels; with no side of 128 or more, in places of the latents",
    "vae_tile_overlap": "part of a tile that overlaps the next, 0 to 0.5",
    "vae_decode_only": "ignored, as in LocalAI",
    "lora_dir": "folder with LoRA adapters, which prompts and requests name",
    "embedding_dir": "folder with textual inversions, which prompts name",
    "upscale_model_path": "an ESRGAN model, which enlarges pictures",
    "cfg_scale": "guidance scale of a request that names none",
    "guidance_scale": "likewise",
}
OPTIONS: Mapping[str, str] = {**PATHS, **SWITCHES, **{name: about for name, (_, about) in CHOICES.items()}, **_OTHERS}
"""All options that have an effect, with what they do."""
