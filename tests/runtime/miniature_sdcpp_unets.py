"""Stable Diffusion 1.5 with which stable-diffusion.cpp draws: real sizes, and nearly all layers empty.

stable-diffusion.cpp knows the UNet of Stable Diffusion 1 in one size only. What is not empty here is the way from the
first convolution over the last block to the last convolution: it sees the noise, the prompt and the time, and a
ControlNet adds to what goes into the last block.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from runtime.miniature_sdcpp import SD_LATENT_CHANNELS, clip
from runtime.miniature_sdcpp_files import Values, Weights, save_gguf, save_safetensors
from runtime.miniature_sdcpp_layers import Layers
from runtime.miniature_sdcpp_vae import vae

_WIDTH = 320
_GROUP = _WIDTH // 32
_NOISE_SEEN = 0.83  # 0.93 of the noise, as normalising 8 channels and 2 empty ones enlarges them
_WIDTHS = (320, 640, 1280, 1280)
_ATTENTION_LEVELS = 3
_TIME_WIDTH = 1280
_PROMPT_WIDTH = 768
_SD2_PROMPT_WIDTH = 1024
_SD2_CLIP_LAYERS = 23  # of 24: the last one is not used
_UNET = "model.diffusion_model."


def save_sd1(folder: Path) -> None:
    """Save Stable Diffusion 1.5 in one file, `sd1.safetensors`: 2 GB long, of which 70 MB are on the disk."""
    save_safetensors(folder / "sd1.safetensors", _checkpoint(in_channels=4))


def save_sd1_gguf(folder: Path) -> None:
    """Save the same as GGUF, `sd1.gguf`, in the names that llama-box's converter writes too."""
    save_gguf(folder / "sd1.gguf", _checkpoint(in_channels=4), architecture="sd1")


def save_sd2(path: Path) -> None:
    """Save Stable Diffusion 2, whose text encoder is CLIP-H: 1.6 GB long, of which 85 MB are on the disk."""
    text = clip("cond_stage_model.transformer.text_model.", width=_SD2_PROMPT_WIDTH, count=_SD2_CLIP_LAYERS)
    unet = _unet(in_channels=4, prompt_width=_SD2_PROMPT_WIDTH)
    save_gguf(path, unet | vae(SD_LATENT_CHANNELS) | text, architecture="sd2", ternary=True)


def save_sd1_inpaint(folder: Path) -> None:
    """Save the inpainting model, `sd1_inpaint.safetensors`, whose UNet sees the mask and the masked picture too."""
    save_safetensors(folder / "sd1_inpaint.safetensors", _checkpoint(in_channels=9))


def save_sd1_pix2pix(path: Path) -> None:
    """Save InstructPix2Pix, whose UNet sees the picture to change too."""
    save_safetensors(path, _checkpoint(in_channels=8))


def save_sd1_controlnet(path: Path) -> None:
    """Save a ControlNet of Stable Diffusion 1.5: 720 MB long, of which 3 MB are on the disk."""
    layers = Layers(seed=7, drawn=("input_blocks.0.", "input_hint_block.", "zero_convs.0."))
    _time_embedding(layers, "")
    channels = (3, 16, 16, 32, 32, 96, 96, 256)
    for index, (inputs, outputs) in enumerate(zip(channels, (*channels[1:], _WIDTH), strict=True)):
        layers.conv(f"input_hint_block.{2 * index}", inputs, outputs, gain=2.0)
    for index, width in enumerate(_down_blocks(layers, "", in_channels=4)):
        layers.conv(f"zero_convs.{index}.0", width, width, 1, gain=0.1)
    _middle_block(layers, "")
    layers.conv("middle_block_out.0", _WIDTHS[-1], _WIDTHS[-1], 1)
    save_safetensors(path, layers.weights)


def save_sd1_lora(path: Path) -> None:
    """Save an adapter for Stable Diffusion 1.5 in kohya's names, which changes how the last block sees the prompt."""
    layers = Layers(seed=8)
    rank = 4
    name = "lora_unet_up_blocks_3_attentions_2_transformer_blocks_0_attn2_to_v"
    layers.linear(f"{name}.lora_down", _PROMPT_WIDTH, rank, bias=False)
    layers.linear(f"{name}.lora_up", rank, _WIDTH, bias=False, gain=4.0)
    layers.weights[f"{name}.alpha"] = np.array([rank], np.float16)
    save_safetensors(path, layers.weights)


def _checkpoint(*, in_channels: int) -> Weights:
    return _unet(in_channels) | vae(SD_LATENT_CHANNELS) | clip("cond_stage_model.transformer.text_model.")


def _unet(in_channels: int, prompt_width: int = _PROMPT_WIDTH) -> Weights:
    drawn = ("time_embed.", "input_blocks.0.", "output_blocks.11.", "out.")
    layers = Layers(seed=9, drawn=[_UNET + name for name in drawn])
    _time_embedding(layers, _UNET)
    skipped = list(_down_blocks(layers, _UNET, in_channels, prompt_width))
    _middle_block(layers, _UNET, prompt_width)
    width = _WIDTHS[-1]
    for index in range(len(skipped)):
        level = len(_WIDTHS) - 1 - index // 3
        block = f"{_UNET}output_blocks.{index}"
        _resnet(layers, f"{block}.0", width + skipped.pop(), _WIDTHS[level])
        width = _WIDTHS[level]
        if level < _ATTENTION_LEVELS:
            _transformer(layers, f"{block}.1", width, prompt_width)
        if level and index % 3 == 2:
            layers.conv(f"{block}.{2 if level < _ATTENTION_LEVELS else 1}.conv", width, width)
    layers.norm(f"{_UNET}out.0", _WIDTH)
    layers.conv(f"{_UNET}out.2", _WIDTH, SD_LATENT_CHANNELS, gain=0.08)
    _see_noise(layers.weights)
    return layers.weights


def _see_noise(weights: Weights) -> None:
    """Let the UNet predict most of the noise that it is given, and little else, so that pictures have middling colours.

    The latents and their negatives have the first group of channels, of those that are normalised together, for
    themselves, and go around everything: the difference of their SiLU is the latents again.
    """
    first, around, convolved, attended, last = (
        _values(weights, f"{_UNET}{name}.weight")
        for name in (
            "input_blocks.0.0",
            "output_blocks.11.0.skip_connection",
            "output_blocks.11.0.out_layers.3",
            "output_blocks.11.1.proj_out",
            "out.2",
        )
    )
    for tensor in (first, around, convolved, attended):
        tensor[:_GROUP] = 0
    last[:, :_GROUP] = 0
    for channel in range(2 * SD_LATENT_CHANNELS):
        latent, sign = channel % SD_LATENT_CHANNELS, 1 if channel < SD_LATENT_CHANNELS else -1
        first[channel, latent, 1, 1] = sign
        around[channel, _WIDTH + channel] = 1  # what comes from the first block follows what comes from below
        last[latent, channel, 1, 1] = sign * _NOISE_SEEN


def _values(weights: Weights, name: str) -> Values:
    tensor = weights[name]
    assert not isinstance(tensor, tuple)
    return tensor


def _time_embedding(layers: Layers, prefix: str) -> None:
    layers.linear(f"{prefix}time_embed.0", _WIDTH, _TIME_WIDTH)
    layers.linear(f"{prefix}time_embed.2", _TIME_WIDTH, _TIME_WIDTH)


def _down_blocks(layers: Layers, prefix: str, in_channels: int, prompt_width: int = _PROMPT_WIDTH) -> Iterator[int]:
    """Add the blocks of the way down, and yield the width of each."""
    layers.conv(f"{prefix}input_blocks.0.0", in_channels, _WIDTH)
    yield _WIDTH
    width, index = _WIDTH, 1
    for level, outputs in enumerate(_WIDTHS):
        for _ in range(2):
            _resnet(layers, f"{prefix}input_blocks.{index}.0", width, outputs)
            width = outputs
            if level < _ATTENTION_LEVELS:
                _transformer(layers, f"{prefix}input_blocks.{index}.1", width, prompt_width)
            yield width
            index += 1
        if level < len(_WIDTHS) - 1:
            layers.conv(f"{prefix}input_blocks.{index}.0.op", width, width)
            yield width
            index += 1


def _middle_block(layers: Layers, prefix: str, prompt_width: int = _PROMPT_WIDTH) -> None:
    width = _WIDTHS[-1]
    _resnet(layers, f"{prefix}middle_block.0", width, width)
    _transformer(layers, f"{prefix}middle_block.1", width, prompt_width)
    _resnet(layers, f"{prefix}middle_block.2", width, width)


def _resnet(layers: Layers, name: str, inputs: int, outputs: int) -> None:
    layers.norm(f"{name}.in_layers.0", inputs)
    layers.conv(f"{name}.in_layers.2", inputs, outputs)
    layers.linear(f"{name}.emb_layers.1", _TIME_WIDTH, outputs)
    layers.norm(f"{name}.out_layers.0", outputs)
    layers.conv(f"{name}.out_layers.3", outputs, outputs)
    if inputs != outputs:
        layers.conv(f"{name}.skip_connection", inputs, outputs, 1, gain=2**0.5)


def _transformer(layers: Layers, name: str, width: int, prompt_width: int) -> None:
    layers.norm(f"{name}.norm", width)
    _projection(layers, f"{name}.proj_in", width, prompt_width)
    block = f"{name}.transformer_blocks.0"
    for attention, keys in (("attn1", width), ("attn2", prompt_width)):
        layers.linear(f"{block}.{attention}.to_q", width, width, bias=False)
        layers.linear(f"{block}.{attention}.to_k", keys, width, bias=False)
        layers.linear(f"{block}.{attention}.to_v", keys, width, bias=False)
        layers.linear(f"{block}.{attention}.to_out.0", width, width, gain=2.0)
    layers.linear(f"{block}.ff.net.0.proj", width, 8 * width)
    layers.linear(f"{block}.ff.net.2", 4 * width, width)
    for index in (1, 2, 3):
        layers.norm(f"{block}.norm{index}", width)
    _projection(layers, f"{name}.proj_out", width, prompt_width)


def _projection(layers: Layers, name: str, width: int, prompt_width: int) -> None:
    """Add what goes into a transformer or comes out of it: a convolution in version 1, a linear layer in version 2."""
    if prompt_width == _PROMPT_WIDTH:
        layers.conv(name, width, width, 1)
    else:
        layers.linear(name, width, width)
