"""Options of LocalAI's stablediffusion-ggml backend that stable-diffusion.cpp, as Heliograph has it, cannot follow."""

from collections.abc import Mapping

REFUSED: Mapping[str, str] = {
    "audio_vae_path": "sound is not drawn here",
    "backend": "it needs a newer stable-diffusion.cpp; keep_clip_on_cpu, keep_vae_on_cpu and the like are there",
    "embeddings_connectors_path": "LTX-2 needs a newer stable-diffusion.cpp",
    "params_backend": "it needs a newer stable-diffusion.cpp; offload_params_to_cpu is there",
    "photo_maker_path": "a request has no pictures of a person to give it",
    "pulid_weights_path": "PuLID needs a newer stable-diffusion.cpp",
    "rpc_servers": "it needs a newer stable-diffusion.cpp",
    "stream_layers": "it needs a newer stable-diffusion.cpp; max_vram and offload_params_to_cpu are there",
    "tae_preview_only": "unfinished pictures are shown without a VAE; leave taesd_path out",
    "uncond_diffusion_model_path": "Ideogram needs a newer stable-diffusion.cpp",
}
"""Options that LocalAI takes and that can have no effect here, with the reason."""
