"""Stable Diffusion 3 Medium with which stable-diffusion.cpp draws: real sizes, and nearly all layers empty.

stable-diffusion.cpp makes it as deep as the tensors say, but not less deep than Medium, and as wide as it is deep.
"""

from pathlib import Path

from runtime.miniature_sdcpp import clip
from runtime.miniature_sdcpp_files import Weights, save_gguf
from runtime.miniature_sdcpp_layers import Layers

LATENT_CHANNELS = 16

_LAYERS = 24
_WIDTH = 64 * _LAYERS
_POSITIONS = 192 * 192
_TEXT_WIDTH = 4096
_POOLED_WIDTH = 2048
_TIME_WIDTH = 256
_PATCH = 2
_CLIP_WIDTH = 1280
_CLIP_LAYERS = 32
_DRAWN = ("x_embedder.", "t_embedder.", "y_embedder.", "final_layer.")


def save_sd3(path: Path) -> None:
    """Save the diffusion model alone: 670 MB long, of which 20 MB are on the disk.

    Around its empty blocks go the latents; the time and the pooled prompt shift and scale them in the last layer.
    """
    save_gguf(path, _model(), architecture="sd3", ternary=True)


def save_clip_g(path: Path) -> None:
    """Save its larger text encoder, CLIP-G: 310 MB long, of which 75 MB are on the disk; see `miniature_sdcpp.clip`."""
    weights = clip("text_model.", width=_CLIP_WIDTH, count=_CLIP_LAYERS)
    layers = Layers(seed=21)
    layers.tensor("text_model.text_projection", (_CLIP_WIDTH, _CLIP_WIDTH), spread=_CLIP_WIDTH**-0.5)
    save_gguf(path, weights | layers.weights, architecture="clip", ternary=True)


def _model() -> Weights:
    layers = Layers(seed=20, drawn=_DRAWN)
    layers.conv("x_embedder.proj", LATENT_CHANNELS, _WIDTH, _PATCH)
    layers.weights["pos_embed"] = (1, _POSITIONS, _WIDTH)
    layers.linear("context_embedder", _TEXT_WIDTH, _WIDTH)
    for name, inputs in (("t_embedder", _TIME_WIDTH), ("y_embedder", _POOLED_WIDTH)):
        layers.linear(f"{name}.mlp.0", inputs, _WIDTH, gain=2.0)
        layers.linear(f"{name}.mlp.2", _WIDTH, _WIDTH, gain=2.0)
    for index in range(_LAYERS):
        for stream in ("x_block", "context_block"):
            last = stream == "context_block" and index == _LAYERS - 1
            _block(layers, f"joint_blocks.{index}.{stream}", attends_only=last)
    layers.linear("final_layer.adaLN_modulation.1", _WIDTH, 2 * _WIDTH)
    layers.linear("final_layer.linear", _WIDTH, _PATCH * _PATCH * LATENT_CHANNELS)
    return layers.weights


def _block(layers: Layers, name: str, *, attends_only: bool) -> None:
    layers.linear(f"{name}.attn.qkv", _WIDTH, 3 * _WIDTH)
    layers.linear(f"{name}.adaLN_modulation.1", _WIDTH, (2 if attends_only else 6) * _WIDTH)
    if not attends_only:
        layers.linear(f"{name}.attn.proj", _WIDTH, _WIDTH)
        layers.linear(f"{name}.mlp.fc1", _WIDTH, 4 * _WIDTH)
        layers.linear(f"{name}.mlp.fc2", 4 * _WIDTH, _WIDTH)
