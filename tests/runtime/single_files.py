"""A model as one file with the tensor names of its family's original code, as checkpoints are passed around."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from runtime.single_file_transformers import sana_transformer, sd3_transformer

Tensors = dict[str, Any]

_RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection",
}  # fmt: skip
_AROUND = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip
_VAE = {
    "conv_shortcut": "nin_shortcut", "conv_norm_out": "norm_out", "mid_block.attentions.0": "mid.attn_1",
    "group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out",
}  # fmt: skip
_VAE_LEVELS = 4
_OPEN_CLIP = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.": "ln_final.", "encoder.layers.": "transformer.resblocks.",
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj", "self_attn": "attn",
}  # fmt: skip


def save_single_file(model: Path, file: Path) -> None:
    """Save a model, a folder in diffusers' layout, as one file.

    Of FLUX.1 and Sana it holds the transformer alone, as the files of their makers do.
    """
    pipeline = json.loads((model / "model_index.json").read_bytes())["_class_name"]
    save_file(dict(_FAMILIES[pipeline](model)), file)


def _sd(model: Path) -> Iterator[tuple[str, Any]]:
    yield from _unet(model)
    yield from _vae(model)
    if json.loads((model / "unet/config.json").read_bytes())["use_linear_projection"]:  # Stable Diffusion 2
        yield from _open_clip(model / "text_encoder", "cond_stage_model.model.")
    else:
        yield from _clip(model / "text_encoder", "cond_stage_model.transformer.")


def _sdxl(model: Path) -> Iterator[tuple[str, Any]]:
    yield from _unet(model)
    yield from _vae(model)
    yield from _clip(model / "text_encoder", "conditioner.embedders.0.transformer.")
    yield from _open_clip(model / "text_encoder_2", "conditioner.embedders.1.model.")


def _sd3(model: Path) -> Iterator[tuple[str, Any]]:
    for name, tensor in sd3_transformer(load_file(model / "transformer/diffusion_pytorch_model.safetensors")):
        yield f"model.diffusion_model.{name}", tensor
    yield from _vae(model)
    for folder, name in (("text_encoder", "clip_l"), ("text_encoder_2", "clip_g"), ("text_encoder_3", "t5xxl")):
        for tensor_name, tensor in load_file(model / folder / "model.safetensors").items():
            if name != "clip_l" or tensor_name != "text_projection.weight":
                yield f"text_encoders.{name}.transformer.{tensor_name}", tensor
            if tensor_name == "shared.weight":  # these files hold it under both of its names
                yield f"text_encoders.{name}.transformer.encoder.embed_tokens.weight", tensor.copy()


def _flux(model: Path) -> Iterator[tuple[str, Any]]:
    # In diffusers' own names: its reader of the original ones takes a FLUX.1 transformer for 3072 wide, always.
    yield from load_file(model / "transformer/diffusion_pytorch_model.safetensors").items()


def _sana(model: Path) -> Iterator[tuple[str, Any]]:
    yield from sana_transformer(load_file(model / "transformer/diffusion_pytorch_model.safetensors"))


_FAMILIES: dict[str, Callable[[Path], Iterator[tuple[str, Any]]]] = {
    "StableDiffusionPipeline": _sd,
    "StableDiffusionXLPipeline": _sdxl,
    "StableDiffusion3Pipeline": _sd3,
    "FluxPipeline": _flux,
    "SanaPipeline": _sana,
}


def _clip(folder: Path, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, tensor in load_file(folder / "model.safetensors").items():
        yield f"{prefix}text_model.{name.removeprefix('text_model.')}", tensor


def _open_clip(folder: Path, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield a text encoder as OpenCLIP names it; there query, key and value are one, and the projection lies across."""
    tensors = load_file(folder / "model.safetensors")
    for name, tensor in tensors.items():
        if name == "text_projection.weight":
            yield f"{prefix}text_projection", np.ascontiguousarray(tensor.T)
            continue
        new = name.removeprefix("text_model.")
        for old, replacement in _OPEN_CLIP.items():
            new = new.replace(old, replacement)
        if match := re.match(r"(.*)\.q_proj\.(\w+)", new):
            parts = [tensors[name.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")]
            yield f"{prefix}{match[1]}.in_proj_{match[2]}", np.concatenate(parts)
        elif not re.search(r"\.[kv]_proj\.", new):
            yield f"{prefix}{new}", tensor


def _unet(model: Path) -> Iterator[tuple[str, Any]]:
    layers = json.loads((model / "unet/config.json").read_bytes())["layers_per_block"]
    tensors = load_file(model / "unet/diffusion_pytorch_model.safetensors")
    for name, tensor in tensors.items():
        yield f"model.diffusion_model.{_unet_name(name, set(tensors), layers)}", tensor


def _unet_name(name: str, names: set[str], layers: int) -> str:
    """Return the original name of a tensor; there the layers of all blocks are counted through."""
    for start, new in _AROUND.items():
        if name.startswith(f"{start}."):
            return new + name.removeprefix(start)
    if match := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name):
        kind, layer, rest = match[1], int(match[2]), match[3]
        return f"middle_block.{2 * layer}.{_resnet(rest)}" if kind == "resnets" else f"middle_block.1.{rest}"
    match = re.match(r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.*)", name)
    assert match, name
    side, block, kind, layer, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
    first = block * (layers + 1)
    place = f"input_blocks.{1 + first + layer}" if side == "down" else f"output_blocks.{first + layer}"
    if kind == "resnets":
        return f"{place}.0.{_resnet(rest)}"
    if kind == "attentions":
        return f"{place}.1.{rest}"
    if kind == "downsamplers":
        return f"input_blocks.{first + layers + 1}.0.op.{rest.removeprefix('conv.')}"
    attends = any(other.startswith(f"up_blocks.{block}.attentions") for other in names)
    return f"output_blocks.{first + layers}.{2 if attends else 1}.{rest}"


def _resnet(rest: str) -> str:
    part, _, tensor = rest.partition(".")
    return f"{_RESNET[part]}.{tensor}"


def _vae(model: Path) -> Iterator[tuple[str, Any]]:
    for name, tensor in load_file(model / "vae/diffusion_pytorch_model.safetensors").items():
        new = _vae_name(name)
        convolution = "attn_1" in new and tensor.ndim == 2  # its attention was made of 1x1 convolutions
        yield f"first_stage_model.{new}", tensor[:, :, None, None] if convolution else tensor


def _vae_name(name: str) -> str:
    for old, new in _VAE.items():
        name = re.sub(rf"\b{re.escape(old)}\b", new, name)
    name = re.sub(r"down_blocks\.(\d)\.resnets\.", r"down.\1.block.", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0\.", r"down.\1.downsample.", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets\.", lambda it: f"up.{_VAE_LEVELS - 1 - int(it[1])}.block.", name)
    name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0\.", lambda it: f"up.{_VAE_LEVELS - 1 - int(it[1])}.upsample.", name)
    return re.sub(r"mid_block\.resnets\.(\d)", lambda it: f"mid.block_{int(it[1]) + 1}", name)
