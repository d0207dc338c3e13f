"""Wan 2.1 T2V 1.3B with which stable-diffusion.cpp draws clips: real sizes, and nearly all layers empty.

stable-diffusion.cpp knows Wan in fixed sizes only. Every block is empty here, and residual connections lead around all
of them; what is not shows the noise and the time in the clip.
"""

from pathlib import Path

import numpy as np

from runtime.miniature_sdcpp_files import Weights, save_gguf, save_safetensors
from runtime.miniature_sdcpp_layers import Layers, first_three, passing

_WIDTH = 1536
_MLP_WIDTH = 8960
_BLOCKS = 30
_TEXT_WIDTH = 4096
_TIME_WIDTH = 256
_LATENT_CHANNELS = 16
_PATCH = 2
_TAE_WIDTHS = (256, 128, 64, 64)
_LATENT_RANGE = 4.0
_T5: Weights = {"encoder.block.0.layer.0.SelfAttention.q.weight": (1, 1)}
"""By this the engine tells a T5 encoder; in an autoencoder's file stable-diffusion.cpp passes over it.

An encoder of the size that Wan needs would take minutes for a prompt. Without one, prompts are zeros.
"""


def save_wan(path: Path, *, seed: int = 20) -> None:
    """Save the diffusion model as GGUF: 440 MB long, of which 9 MB are on the disk."""
    layers = Layers(seed=seed, drawn=("patch_embedding.", "time_embedding.", "head."))
    layers.tensor("patch_embedding.weight", (_WIDTH * _LATENT_CHANNELS, 1, _PATCH, _PATCH), spread=0.125)
    layers.weights["patch_embedding.bias"] = (_WIDTH,)
    for name, inputs, outputs in (
        ("text_embedding.0", _TEXT_WIDTH, _WIDTH),
        ("text_embedding.2", _WIDTH, _WIDTH),
        ("time_embedding.0", _TIME_WIDTH, _WIDTH),
        ("time_embedding.2", _WIDTH, _WIDTH),
        ("time_projection.1", _WIDTH, 6 * _WIDTH),
        ("head.head", _WIDTH, _LATENT_CHANNELS * _PATCH**2),
    ):
        layers.linear(name, inputs, outputs)
    layers.weights["head.modulation"] = (1, 2, _WIDTH)
    for index in range(_BLOCKS):
        _block(layers, f"blocks.{index}")
    save_gguf(path, layers.weights, architecture="wan", ternary=True)


def save_taehv(path: Path) -> None:
    """Save a tiny autoencoder of clips, TAEW2.1, with what passes for a text encoder: 23 MB, of which 1 MB on the disk.

    It keeps one pixel of 8x8 of a frame in the first three latent channels, and shows these as a mosaic.
    """
    layers = Layers(seed=0, drawn=())
    _encoder(layers)
    _decoder(layers)
    save_safetensors(path, layers.weights | _T5)


def _block(layers: Layers, name: str) -> None:
    layers.weights[f"{name}.modulation"] = (1, 6, _WIDTH)
    layers.norm(f"{name}.norm3", _WIDTH)
    for attention in ("self_attn", "cross_attn"):
        for part in ("q", "k", "v", "o"):
            layers.linear(f"{name}.{attention}.{part}", _WIDTH, _WIDTH)
        for part in ("norm_q", "norm_k"):
            layers.weights[f"{name}.{attention}.{part}.weight"] = np.ones(_WIDTH, np.float16)
    layers.linear(f"{name}.ffn.0", _WIDTH, _MLP_WIDTH)
    layers.linear(f"{name}.ffn.2", _MLP_WIDTH, _WIDTH)


def _encoder(layers: Layers) -> None:
    width = _TAE_WIDTHS[-1]
    layers.weights |= {"encoder.0.weight": passing(width, 3), "encoder.0.bias": (width,)}
    for stage, frames in enumerate((2, 2, 1)):
        first = 2 + 5 * stage
        layers.weights[f"encoder.{first}.conv.weight"] = passing(width, width * frames, size=1)
        layers.weights[f"encoder.{first + 1}.weight"] = passing(width, width)
        for index in range(first + 2, first + 5):
            _remembering(layers, f"encoder.{index}", width)
    layers.weights["encoder.17.weight"] = passing(_LATENT_CHANNELS, width, gain=_LATENT_RANGE)
    layers.weights["encoder.17.bias"] = first_three(_LATENT_CHANNELS, -_LATENT_RANGE / 2)


def _decoder(layers: Layers) -> None:
    layers.weights["decoder.1.weight"] = passing(_TAE_WIDTHS[0], _LATENT_CHANNELS, gain=1 / _LATENT_RANGE)
    layers.weights["decoder.1.bias"] = first_three(_TAE_WIDTHS[0], 0.5)
    for stage, frames in enumerate((1, 2, 2)):
        first, width = 3 + 6 * stage, _TAE_WIDTHS[stage]
        for index in range(first, first + 3):
            _remembering(layers, f"decoder.{index}", width)
        grown = [passing(width, width, size=1)] * frames
        layers.weights[f"decoder.{first + 4}.conv.weight"] = np.concatenate(grown)
        layers.weights[f"decoder.{first + 5}.weight"] = passing(_TAE_WIDTHS[stage + 1], width)
    layers.weights |= {"decoder.22.weight": passing(3, _TAE_WIDTHS[-1]), "decoder.22.bias": (3,)}


def _remembering(layers: Layers, name: str, width: int) -> None:
    """Add a block that sees the frame before each; an empty one hands on its frame."""
    for index, inputs in ((0, 2 * width), (2, width), (4, width)):
        layers.conv(f"{name}.conv.{index}", inputs, width)
