"""Miniatures with which stable-diffusion.cpp draws: FLUX.1, its parts, an adapter and an upscaler.

stable-diffusion.cpp reads the depth and the width of FLUX from the tensors; the sizes of CLIP-L, of the tiny
autoencoders and of RealESRGAN are fixed in it.
"""

from pathlib import Path

import numpy as np

from runtime.miniature_sdcpp_files import Weights, save_gguf, save_safetensors
from runtime.miniature_sdcpp_layers import Layers, first_three, passing
from runtime.miniature_sdcpp_vae import vae

FLUX_LATENT_CHANNELS = 16
SD_LATENT_CHANNELS = 4

_HIDDEN = 128  # one head of 128, which is what the fixed axes of the rotary embedding add up to
_MLP = 4 * _HIDDEN
_CLIP_WIDTH = 768
_CLIP_LAYERS = 12
_CLIP_TOKENS = 49408
_CLIP_COMMON_TOKENS = 16384
_TAESD_WIDTH = 64
_LATENT_RANGE = 4.0  # from black to white, about what noise of deviation 1 fills
_UPSCALER_WIDTH = 64
_UPSCALER_GROWTH = 32


def save_flux(folder: Path) -> None:
    """Save FLUX.1 [dev], which has a guidance embedding: `flux.gguf`, and the encoders that it needs.

    The model has one double and one single block (3.3 MB); `clip_l.safetensors` and `taef1.safetensors` are those of
    `save_clip` and `save_taesd`. A T5 encoder is not needed: without one its part of the prompt is zeros.
    """
    save_gguf(folder / "flux.gguf", flux(guidance=True), architecture="flux")
    _save_flux_parts(folder)


def save_flux_schnell(folder: Path) -> None:
    """Save FLUX.1 [schnell], which has no guidance, as `flux.safetensors` with the encoders of `save_flux`."""
    save_safetensors(folder / "flux.safetensors", flux(guidance=False))
    _save_flux_parts(folder)


def save_flux_control(path: Path) -> None:
    """Save FLUX.1 Depth or Canny [dev], whose latents have those of the picture to follow beside them."""
    save_gguf(path, flux(guidance=True, inputs=2 * 4 * FLUX_LATENT_CHANNELS), architecture="flux")


def save_flux_all_in_one(folder: Path, encoder: str = "text_encoders.clip_l.") -> None:
    """Save FLUX.1 [dev] as the one file `flux_all_in_one.gguf` (400 MB long, of which 57 MB are on the disk).

    `encoder` is what the names of the text encoder start with. llama-box's converter writes `cond_stage_model.`, in
    which stable-diffusion.cpp finds no encoder for FLUX: it loads such a file, and crashes at the first prompt.
    """
    model = {f"model.diffusion_model.{name}": tensor for name, tensor in flux(guidance=True).items()}
    weights = model | vae(FLUX_LATENT_CHANNELS, quantizes=False) | clip(f"{encoder}transformer.text_model.")
    save_gguf(folder / "flux_all_in_one.gguf", weights, architecture="flux")


def save_clip(path: Path) -> None:
    """Save a CLIP-L text encoder: 246 MB long, of which 34 MB are on the disk.

    Only the attention of the first and the last layer is not empty. Without the first, the pooled output would tell
    no more than how many words a prompt has; the last is what skipping a layer leaves out. The vocabulary is sorted
    by frequency, and only the words at its beginning have embeddings.
    """
    save_safetensors(path, clip("text_model."))


def save_taesd(path: Path, latent_channels: int) -> None:
    """Save a tiny autoencoder: TAESD with 4 latent channels, TAEF1 with 16 (5 MB, of which 0.5 MB are on the disk).

    It keeps one pixel of 8x8 in the first three latent channels, and shows these as a mosaic: what noise, a picture
    or a mask put into the latents can be seen in the picture.
    """
    layers = Layers(seed=0, drawn=())
    _tiny_encoder(layers, latent_channels)
    _tiny_decoder(layers, latent_channels)
    save_safetensors(path, layers.weights)


def save_flux_lora(path: Path) -> None:
    """Save an adapter for FLUX.1 in kohya's names, which changes what the single block adds to the picture."""
    layers = Layers(seed=4)
    rank = 4
    name = "lora_unet_single_blocks_0_linear2"
    layers.linear(f"{name}.lora_down", _HIDDEN + _MLP, rank, bias=False)
    layers.linear(f"{name}.lora_up", rank, _HIDDEN, bias=False, gain=4.0)
    layers.weights[f"{name}.alpha"] = np.array([rank], np.float16)
    save_safetensors(path, layers.weights)


def save_upscaler(path: Path) -> None:
    """Save a RealESRGAN model of one block (1.7 MB), which enlarges a picture four times and makes it negative.

    Each pixel becomes 4x4 pixels of the opposite colour, so that its work can be told from any other enlargement.
    """
    layers = Layers(seed=0, drawn=())
    layers.weights["conv_first.weight"] = passing(_UPSCALER_WIDTH, 3)
    layers.weights["conv_first.bias"] = (_UPSCALER_WIDTH,)
    for dense in range(1, 4):
        for index in range(1, 5):
            inputs = _UPSCALER_WIDTH + (index - 1) * _UPSCALER_GROWTH
            layers.conv(f"body.0.rdb{dense}.conv{index}", inputs, _UPSCALER_GROWTH)
        layers.conv(f"body.0.rdb{dense}.conv5", _UPSCALER_WIDTH + 4 * _UPSCALER_GROWTH, _UPSCALER_WIDTH)
    layers.conv("conv_body", _UPSCALER_WIDTH, _UPSCALER_WIDTH)
    for name in ("conv_up1", "conv_up2", "conv_hr"):
        layers.weights[f"{name}.weight"] = passing(_UPSCALER_WIDTH, _UPSCALER_WIDTH)
        layers.weights[f"{name}.bias"] = (_UPSCALER_WIDTH,)
    layers.weights["conv_last.weight"] = passing(3, _UPSCALER_WIDTH, -1)
    layers.weights["conv_last.bias"] = np.ones(3, np.float16)
    save_safetensors(path, layers.weights)


def clip(prefix: str, *, width: int = _CLIP_WIDTH, count: int = _CLIP_LAYERS) -> Weights:
    """Return the tensors of the text encoder of `save_clip`, or of a larger one; their names start with `prefix`."""
    drawn = ("embeddings.", "layers.0.self_attn.", f"layers.{count - 1}.self_attn.")
    layers = Layers(seed=2, drawn=drawn)
    layers.tensor(f"{prefix}embeddings.token_embedding.weight", (_CLIP_TOKENS, width), rows=_CLIP_COMMON_TOKENS)
    layers.tensor(f"{prefix}embeddings.position_embedding.weight", (77, width), spread=0.1)
    for index in range(count):
        layer = f"{prefix}encoder.layers.{index}"
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            layers.linear(f"{layer}.self_attn.{name}", width, width, gain=2.0)
        layers.norm(f"{layer}.layer_norm1", width)
        layers.norm(f"{layer}.layer_norm2", width)
        layers.linear(f"{layer}.mlp.fc1", width, 4 * width)
        layers.linear(f"{layer}.mlp.fc2", 4 * width, width)
    layers.norm(f"{prefix}final_layer_norm", width)
    return layers.weights


def _save_flux_parts(folder: Path) -> None:
    save_clip(folder / "clip_l.safetensors")
    save_taesd(folder / "taef1.safetensors", FLUX_LATENT_CHANNELS)


def flux(*, guidance: bool, inputs: int = 4 * FLUX_LATENT_CHANNELS) -> Weights:
    layers = Layers(seed=1)
    layers.linear("img_in", inputs, _HIDDEN)
    layers.linear("txt_in", 4096, _HIDDEN)
    embedders = {"time_in": 256, "vector_in": _CLIP_WIDTH} | ({"guidance_in": 256} if guidance else {})
    for name, width in embedders.items():
        layers.linear(f"{name}.in_layer", width, _HIDDEN, gain=2.0)
        layers.linear(f"{name}.out_layer", _HIDDEN, _HIDDEN, gain=2.0)
    for stream in ("img", "txt"):
        block = f"double_blocks.0.{stream}"
        layers.linear(f"{block}_mod.lin", _HIDDEN, 6 * _HIDDEN)
        layers.linear(f"{block}_attn.qkv", _HIDDEN, 3 * _HIDDEN)
        _flux_scales(layers, f"{block}_attn")
        layers.linear(f"{block}_attn.proj", _HIDDEN, _HIDDEN)
        layers.linear(f"{block}_mlp.0", _HIDDEN, _MLP)
        layers.linear(f"{block}_mlp.2", _MLP, _HIDDEN)
    layers.linear("single_blocks.0.modulation.lin", _HIDDEN, 3 * _HIDDEN)
    layers.linear("single_blocks.0.linear1", _HIDDEN, 3 * _HIDDEN + _MLP)
    layers.linear("single_blocks.0.linear2", _HIDDEN + _MLP, _HIDDEN)
    _flux_scales(layers, "single_blocks.0")
    layers.linear("final_layer.adaLN_modulation.1", _HIDDEN, 2 * _HIDDEN)
    layers.linear("final_layer.linear", _HIDDEN, 4 * FLUX_LATENT_CHANNELS)
    return layers.weights


def _flux_scales(layers: Layers, attention: str) -> None:
    for name in ("query_norm", "key_norm"):
        layers.weights[f"{attention}.norm.{name}.scale"] = np.ones(_HIDDEN, np.float16)


def _tiny_encoder(layers: Layers, latent_channels: int) -> None:
    layers.weights |= {"encoder.layers.0.weight": passing(_TAESD_WIDTH, 3), "encoder.layers.0.bias": (_TAESD_WIDTH,)}
    _tiny_block(layers, "encoder.layers.1")
    for stage in (2, 6, 10):
        layers.weights[f"encoder.layers.{stage}.weight"] = passing(_TAESD_WIDTH, _TAESD_WIDTH)
        for index in range(stage + 1, stage + 4):
            _tiny_block(layers, f"encoder.layers.{index}")
    layers.weights["encoder.layers.14.weight"] = passing(latent_channels, _TAESD_WIDTH, _LATENT_RANGE)
    layers.weights["encoder.layers.14.bias"] = first_three(latent_channels, -_LATENT_RANGE / 2)


def _tiny_decoder(layers: Layers, latent_channels: int) -> None:
    layers.weights["decoder.layers.0.weight"] = passing(_TAESD_WIDTH, latent_channels, 1 / _LATENT_RANGE)
    layers.weights["decoder.layers.0.bias"] = first_three(_TAESD_WIDTH, 0.5)
    for stage in (2, 7, 12):
        for index in range(stage, stage + 3):
            _tiny_block(layers, f"decoder.layers.{index}")
        layers.weights[f"decoder.layers.{stage + 4}.weight"] = passing(_TAESD_WIDTH, _TAESD_WIDTH)
    _tiny_block(layers, "decoder.layers.17")
    layers.weights |= {"decoder.layers.18.weight": passing(3, _TAESD_WIDTH), "decoder.layers.18.bias": (3,)}


def _tiny_block(layers: Layers, name: str) -> None:
    for index in (0, 2, 4):
        layers.conv(f"{name}.conv.{index}", _TAESD_WIDTH, _TAESD_WIDTH)
