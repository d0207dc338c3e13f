"""A model as one file with the tensor names of the original Stable Diffusion code, as checkpoints are passed around."""

import re
from pathlib import Path

from safetensors.numpy import load_file, save_file

_RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection",
}  # fmt: skip
_AROUND = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip
_VAE = {
    "conv_shortcut": "nin_shortcut", "conv_norm_out": "norm_out", "mid_block.attentions.0": "mid.attn_1",
    "group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out",
}  # fmt: skip
_VAE_LEVELS = 4


def save_single_file(model: Path, file: Path) -> None:
    """Save the tiny model, a folder in diffusers' layout, as one file."""
    unet = load_file(model / "unet/diffusion_pytorch_model.safetensors")
    vae = load_file(model / "vae/diffusion_pytorch_model.safetensors")
    text = load_file(model / "text_encoder/model.safetensors")
    tensors = {f"model.diffusion_model.{_unet_name(name, set(unet))}": tensor for name, tensor in unet.items()}
    for name, tensor in vae.items():
        new = _vae_name(name)
        convolution = "attn_1" in new and tensor.ndim == 2  # its attention was made of 1x1 convolutions
        tensors[f"first_stage_model.{new}"] = tensor[:, :, None, None] if convolution else tensor
    for name, tensor in text.items():
        tensors[f"cond_stage_model.transformer.text_model.{name.removeprefix('text_model.')}"] = tensor
    save_file(tensors, file)


def _unet_name(name: str, names: set[str]) -> str:
    """Return the original name of a tensor; blocks there are counted through, with one layer each."""
    for start, new in _AROUND.items():
        if name.startswith(f"{start}."):
            return new + name.removeprefix(start)
    if match := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name):
        kind, layer, rest = match[1], int(match[2]), match[3]
        return f"middle_block.{2 * layer}.{_resnet(rest)}" if kind == "resnets" else f"middle_block.1.{rest}"
    match = re.match(r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.*)", name)
    assert match, name
    side, block, kind, layer, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
    place = f"input_blocks.{1 + block * 2 + layer}" if side == "down" else f"output_blocks.{block * 2 + layer}"
    if kind == "resnets":
        return f"{place}.0.{_resnet(rest)}"
    if kind == "attentions":
        return f"{place}.1.{rest}"
    if kind == "downsamplers":
        return f"input_blocks.{block * 2 + 2}.0.op.{rest.removeprefix('conv.')}"
    attends = any(other.startswith(f"up_blocks.{block}.attentions") for other in names)
    return f"output_blocks.{block * 2 + 1}.{2 if attends else 1}.{rest}"


def _resnet(rest: str) -> str:
    part, _, tensor = rest.partition(".")
    return f"{_RESNET[part]}.{tensor}"


def _vae_name(name: str) -> str:
    for old, new in _VAE.items():
        name = re.sub(rf"\b{re.escape(old)}\b", new, name)
    name = re.sub(r"down_blocks\.(\d)\.resnets\.", r"down.\1.block.", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0\.", r"down.\1.downsample.", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets\.", lambda it: f"up.{_VAE_LEVELS - 1 - int(it[1])}.block.", name)
    name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0\.", lambda it: f"up.{_VAE_LEVELS - 1 - int(it[1])}.upsample.", name)
    return re.sub(r"mid_block\.resnets\.(\d)", lambda it: f"mid.block_{int(it[1]) + 1}", name)
