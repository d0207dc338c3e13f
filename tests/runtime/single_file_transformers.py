"""The names that the original code of a family gives to its transformer's tensors."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

Tensors = dict[str, Any]

# Each part of a name with what stands for it; where several tensors get the same name, the original keeps them in one,
# in the order of the lines here.
_SD3 = {
    "pos_embed.pos_embed": "pos_embed", "pos_embed.proj": "x_embedder.proj",
    "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
    "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
    "transformer_blocks": "joint_blocks",
    "norm1.linear": "x_block.adaLN_modulation.1", "norm1_context.linear": "context_block.adaLN_modulation.1",
    "attn.to_q": "x_block.attn.qkv", "attn.to_k": "x_block.attn.qkv", "attn.to_v": "x_block.attn.qkv",
    "attn.add_q_proj": "context_block.attn.qkv", "attn.add_k_proj": "context_block.attn.qkv",
    "attn.add_v_proj": "context_block.attn.qkv",
    "attn.to_out.0": "x_block.attn.proj", "attn.to_add_out": "context_block.attn.proj",
    "ff.net.0.proj": "x_block.mlp.fc1", "ff.net.2": "x_block.mlp.fc2",
    "ff_context.net.0.proj": "context_block.mlp.fc1", "ff_context.net.2": "context_block.mlp.fc2",
    "norm_out.linear": "final_layer.adaLN_modulation.1", "proj_out": "final_layer.linear",
}  # fmt: skip
_SANA = {
    "time_embed.emb.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_embed.emb.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_embed.linear": "t_block.1", "patch_embed.proj": "x_embedder.proj",
    "caption_projection.linear_1": "y_embedder.y_proj.fc1", "caption_projection.linear_2": "y_embedder.y_proj.fc2",
    "caption_norm": "attention_y_norm", "transformer_blocks": "blocks",
    "attn1.to_q": "attn.qkv", "attn1.to_k": "attn.qkv", "attn1.to_v": "attn.qkv", "attn1.to_out.0": "attn.proj",
    "attn2.to_q": "cross_attn.q_linear", "attn2.to_k": "cross_attn.kv_linear", "attn2.to_v": "cross_attn.kv_linear",
    "attn2.to_out.0": "cross_attn.proj",
    "ff.conv_inverted": "mlp.inverted_conv.conv", "ff.conv_depth": "mlp.depth_conv.conv",
    "ff.conv_point": "mlp.point_conv.conv",
    "proj_out": "final_layer.linear",
}  # fmt: skip


def sd3_transformer(tensors: Tensors) -> Iterator[tuple[str, Any]]:
    """Yield the tensors of a Stable Diffusion 3 transformer with their original names."""
    last = max(int(name.split(".")[1]) for name in tensors if name.startswith("transformer_blocks."))
    shifted_first = (f"joint_blocks.{last}.context_block.adaLN_modulation.1.", "final_layer.adaLN_modulation.1.")
    for name, tensor in _renamed(tensors, _SD3):
        yield name, np.concatenate(np.split(tensor, 2)[::-1]) if name.startswith(shifted_first) else tensor


def sana_transformer(tensors: Tensors) -> Iterator[tuple[str, Any]]:
    """Yield the tensors of a Sana transformer with their original names."""
    yield "pos_embed", np.zeros(1, dtype=np.float32)  # of the training; nothing reads it
    yield "y_embedder.y_embedding", np.zeros(1, dtype=np.float32)
    yield "final_layer.scale_shift_table", tensors.pop("scale_shift_table")
    yield from _renamed(tensors, _SANA)


def _renamed(tensors: Tensors, names: dict[str, str]) -> Iterator[tuple[str, Any]]:
    parts: dict[str, dict[tuple[int, ...], Any]] = defaultdict(dict)
    for name, tensor in tensors.items():
        new, order = name, []
        for place, (old, replacement) in enumerate(names.items()):
            if old in new:
                new = new.replace(old, replacement)
                order.append(place)
        parts[new][tuple(order)] = tensor
    for new, found in parts.items():
        yield new, np.concatenate([found[order] for order in sorted(found)])
