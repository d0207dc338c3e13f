"""What stable-diffusion.cpp takes for its intermediate results, told from the shapes of a model's tensors.

A graph's buffer is as large as what lives in it at once at most. In one layer that is the matrix of attention
weights (f32, heads x tokens x tokens; `ggml_ext_attention_ext` in `ggml_extend.hpp`), which flash attention
avoids, and activations in proportion to the pixels. Each `_..._UNITS` says how many activations live beside it, in
hidden sizes for each token. All but the uncalibrated one are fitted to the sizes that stable-diffusion.cpp logs, as
gguf-parser collected them (`file_estimate__stablediffusioncpp.go`), with which this agrees within 9 % from
512 x 512 to 2048 x 2048 (SD2 with a whole attention matrix aside, of which only one size was at hand).
"""

from collections.abc import Mapping

from heliograph_runtime.engines.sdcpp.known import Backbone, Family
from heliograph_runtime.engines.sdcpp.tensors import TensorInfo, elements

Tensors = Mapping[str, TensorInfo]

_FLOAT = 4
_HALF = 2
_KERNEL = 9
"""Elements of a 3 x 3 convolution's kernel: its matrix of inputs (`im2col`, f16) repeats each pixel so often."""

_FLUX_UNITS = 16.3
_MMDIT_UNITS = 6.0
_UNCALIBRATED_UNITS = 12.0
"""For Qwen-Image, Z-Image, Wan and the like, of which no sizes were at hand: between the two, as their MLPs are."""
_UNITS: Mapping[Backbone, float] = {
    "flux": _FLUX_UNITS,
    "mmdit": _MMDIT_UNITS,
    "transformer": _UNCALIBRATED_UNITS,
}
_UNET_ATTENTION_UNITS = 9.0
_UNET_CONVOLUTION_UNITS = 12.0
"""Beside a U-Net's last convolutions, whose input has three times the channels of its first: skip connections."""
_UNET_CONVOLUTION_INPUTS = 3

_HEAD_SIZES: Mapping[Backbone, int] = {"unet": 64, "mmdit": 64, "flux": 128, "transformer": 128}
_SD1_HEADS = 8
_SD1_CONTEXT = 768
_TEXT_TOKENS: Mapping[Backbone, int] = {"mmdit": 154, "flux": 256, "transformer": 512}
"""Tokens of a prompt (`chunk_len` in `conditioner.hpp`); a longer one adds to them."""
_LATENT_PIXELS = 8
_TOKEN_PIXELS = 16
_WIDE_TOKEN_PIXELS = 32
_WIDE_TOKENS = frozenset({"wan2.2-ti2v"})
FRAMES_OF_LATENT = 4
"""Frames of a clip, after the first, that are one frame of the latents."""

_VAE_ACTIVATIONS = 2
"""Activations that live beside the convolution at full size: its input and its result."""
_VAE_LEVELS = 2
"""Channels at full size are those of the decoder's first convolution divided by this; by twice this in Wan's."""
_TAE_CHANNELS = 64
_KERNEL_3D = 27

_WIDE_ENCODING = 64 * 512 * 512 * _FLOAT
"""The attention weights of T5-XXL, the largest that encoding takes: 64 heads, 512 tokens."""
_CLIP_WIDTH = 1280
_CLIP_TOKENS = 77
_CLIP_UNITS = 10.0
"""Activations that live beside each other in CLIP, in widths for each token: its MLP has four on either side."""


def denoising_bytes(
    family: Family,
    tensors: Tensors,
    *,
    width: int,
    height: int,
    frames: int = 1,
    flash_attention: bool = False,
) -> int:
    """Return the compute buffer of a diffusion model.

    Args:
        family: Its family.
        tensors: Its tensors by name without prefix.
        width: Width of the picture in pixels.
        height: Height of the picture in pixels.
        frames: Frames of a clip.
        flash_attention: Whether it runs with flash attention.
    """
    if family.backbone == "unet":
        return _unet_bytes(tensors, width * height // _LATENT_PIXELS**2, flash_attention=flash_attention)
    side = _WIDE_TOKEN_PIXELS if family.name in _WIDE_TOKENS else _TOKEN_PIXELS
    picture = -(-width // side) * -(-height // side) * latent_frames(frames)
    tokens = picture + _TEXT_TOKENS[family.backbone]
    hidden = _hidden_size(tensors)
    activations = round(_UNITS[family.backbone] * tokens * hidden * _FLOAT)
    attention = hidden // _HEAD_SIZES[family.backbone] * tokens**2 * _FLOAT
    return activations + (0 if flash_attention else attention)


def text_encoding_bytes(tensors: Tensors) -> int:
    """Return the compute buffer of text encoders, which run one after the other; `tensors` are those of all."""
    width = _hidden_size(tensors)
    return _WIDE_ENCODING if width > _CLIP_WIDTH else round(_CLIP_UNITS * _CLIP_TOKENS * width * _FLOAT)


def decoding_bytes(
    tensors: Tensors, *, width: int, height: int, frames: int = 1, tile: tuple[int, int] | None = None
) -> int:
    """Return the compute buffer of a VAE that decodes.

    Args:
        tensors: Its tensors, by name with or without prefix.
        width: Width of the picture in pixels.
        height: Height of the picture in pixels.
        frames: Frames of a clip.
        tile: Width and height of a tile in pixels; None where it decodes the whole picture at once.
    """
    if tile is not None:
        width, height = min(width, tile[0]), min(height, tile[1])
    pixels = width * height
    if wide := _first_channels(tensors, "decoder.conv1.weight"):
        channels = wide // (2 * _VAE_LEVELS)
        chunk = min(frames, FRAMES_OF_LATENT)
        return pixels * chunk * channels * (_KERNEL_3D * _HALF + _VAE_ACTIVATIONS * _FLOAT)
    channels = _first_channels(tensors, "decoder.conv_in.weight") // _VAE_LEVELS or _TAE_CHANNELS
    # A tiny autoencoder decodes all frames of a clip at once.
    convolution = pixels * frames * channels * (_KERNEL * _HALF + _VAE_ACTIVATIONS * _FLOAT)
    latents = pixels // _LATENT_PIXELS**2
    attention = 0 if channels == _TAE_CHANNELS else latents**2 * _FLOAT
    return max(convolution, attention)


def latent_frames(frames: int) -> int:
    """Return the frames that a clip has for the diffusion model: the first, and one for each four after it."""
    return (frames - 1) // FRAMES_OF_LATENT + 1


def _unet_bytes(tensors: Tensors, latents: int, *, flash_attention: bool) -> int:
    channels = _first_channels(tensors, "input_blocks.0.0.weight")
    inputs = _UNET_CONVOLUTION_INPUTS * channels
    convolution = latents * (inputs * _KERNEL * _HALF + round(_UNET_CONVOLUTION_UNITS * channels * _FLOAT))
    if flash_attention:
        return convolution
    # Stable Diffusion XL attends from the second level on, where there are a quarter of the pixels.
    attends_at_once = any(name.startswith("input_blocks.1.1.") for name in tensors)
    tokens, width = (latents, channels) if attends_at_once else (latents // 4, 2 * channels)
    context = next((info.shape[-1] for name, info in tensors.items() if name.endswith("attn2.to_k.weight")), 0)
    heads = _SD1_HEADS if context == _SD1_CONTEXT else width // _HEAD_SIZES["unet"]
    attention = heads * tokens**2 * _FLOAT + round(_UNET_ATTENTION_UNITS * channels * _FLOAT) * latents
    return max(convolution, attention)


def _hidden_size(tensors: Tensors) -> int:
    """Return the hidden size of a transformer: the short side of its largest matrix, which widens it."""
    matrices = (info.shape for info in tensors.values() if len(info.shape) == 2)
    return min(max(matrices, key=elements, default=(0, 0)))


def _first_channels(tensors: Tensors, name: str) -> int:
    """Return the output channels of a convolution; 0 if there is none."""
    return next((info.shape[0] for own, info in tensors.items() if own.endswith(name)), 0)
