"""Names of tensors in diffusers' and in other layouts, and what stable-diffusion.cpp calls them.

Source: `name_conversion.cpp` of stable-diffusion-cpp-python 0.4.7, whose tables these are, in their order.
"""

from collections.abc import Iterator, Mapping

LORA_ENDINGS: Mapping[str, str] = {
    **{f"{joint}{part}.weight": f".weight.lora_{part}" for part in ("down", "mid", "up") for joint in (".lora_",)},
    **{
        f"{joint}{part}.weight": f".weight.lora_{part}"
        for part in ("down", "mid", "up")
        for joint in (".lora.", "_lora.")
    },
    **{
        f".lora_{side}{adapter}.weight": f".weight.lora_{part}"
        for side, part in (("A", "down"), ("B", "up"))
        for adapter in ("", ".default")
    },
    ".lora_linear": ".weight.alpha",
    ".diff_b": ".bias.diff",
    **{
        f".{part}": f".weight.{part}"
        for part in (
            "alpha", "scale", "diff", "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2",
            "lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b",
        )
    },
}  # fmt: skip
"""Endings of an adapter's tensors in files."""

UNDERLINED_TOKENS = (
    "self_attn", "out_proj", "q_proj", "k_proj", "v_proj", "to_k", "to_q", "to_v", "to_out", "text_model",
    "down_blocks", "mid_block", "up_block", "proj_in", "proj_out", "transformer_blocks", "single_transformer_blocks",
    "single_blocks", "diffusion_model", "cond_stage_model", "first_stage_model", "conv_in", "conv_out", "lora_down",
    "lora_mid", "lora_up", "diff_b", "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2",
    ".lokr_w1", ".lokr_w1_a", ".lokr_w1_b", ".lokr_w2", ".lokr_w2_a", ".lokr_w2_b", "time_emb_proj", "conv_shortcut",
    "time_embedding", "conv_norm_out", "double_blocks", "txt_attn", "img_attn", "input_blocks", "output_blocks",
    "middle_block", "skip_connection", "emb_layers", "in_layers", "out_layers", "add_q_proj", "add_k_proj",
    "add_v_proj", "add_out_proj", "ff_context", "norm_added_q", "norm_added_v", "to_add_out", "txt_mod", "img_mod",
    "txt_mlp", "img_mlp", "proj_mlp", "wi_0", "wi_1", "norm1_context", "x_embedder",
)  # fmt: skip
"""Words in which an underscore stays one when the others of a name become dots."""

UNET_NAMES: Mapping[str, str] = {
    "time_embedding.linear_1.weight": "time_embed.0.weight",
    "time_embedding.linear_1.bias": "time_embed.0.bias",
    "time_embedding.linear_2.weight": "time_embed.2.weight",
    "time_embedding.linear_2.bias": "time_embed.2.bias",
    "conv_in.weight": "input_blocks.0.0.weight",
    "conv_in.bias": "input_blocks.0.0.bias",
    "conv_norm_out.weight": "out.0.weight",
    "conv_norm_out.bias": "out.0.bias",
    "conv_out.weight": "out.2.weight",
    "conv_out.bias": "out.2.bias",
}
SDXL_NAMES: Mapping[str, str] = {
    "add_embedding.linear_1.weight": "label_emb.0.0.weight",
    "add_embedding.linear_1.bias": "label_emb.0.0.bias",
    "add_embedding.linear_2.weight": "label_emb.0.2.weight",
    "add_embedding.linear_2.bias": "label_emb.0.2.bias",
}
RESNET_NAMES: Mapping[str, str] = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}

OPEN_CLIP_NAMES: Mapping[str, str] = {
    "model.ln_final.bias": "transformer.text_model.final_layer_norm.bias",
    "model.ln_final.weight": "transformer.text_model.final_layer_norm.weight",
    "model.positional_embedding": "transformer.text_model.embeddings.position_embedding.weight",
    "model.token_embedding.weight": "transformer.text_model.embeddings.token_embedding.weight",
    "model.text_projection": "transformer.text_model.text_projection",
}
OPEN_CLIP_LAYER: Mapping[str, str] = {
    "attn.in_proj_bias": "self_attn.in_proj.bias",
    "attn.in_proj_weight": "self_attn.in_proj.weight",
    "attn.out_proj.bias": "self_attn.out_proj.bias",
    "attn.out_proj.weight": "self_attn.out_proj.weight",
    "ln_1.bias": "layer_norm1.bias",
    "ln_1.weight": "layer_norm1.weight",
    "ln_2.bias": "layer_norm2.bias",
    "ln_2.weight": "layer_norm2.weight",
    "mlp.c_fc.bias": "mlp.fc1.bias",
    "mlp.c_fc.weight": "mlp.fc1.weight",
    "mlp.c_proj.bias": "mlp.fc2.bias",
    "mlp.c_proj.weight": "mlp.fc2.weight",
}
CLIP_NAMES: Mapping[str, str] = {
    "transformer.text_projection.weight": "transformer.text_model.text_projection",
    "model.text_projection.weight": "transformer.text_model.text_projection",
}
T5_NAMES: Mapping[str, str] = {
    "enc.": "encoder.",
    "blk.": "block.",
    "output_norm.": "final_layer_norm.",
    "attn_q.": "layer.0.SelfAttention.q.",
    "attn_k.": "layer.0.SelfAttention.k.",
    "attn_v.": "layer.0.SelfAttention.v.",
    "attn_o.": "layer.0.SelfAttention.o.",
    "attn_norm.": "layer.0.layer_norm.",
    "ffn_norm.": "layer.1.layer_norm.",
    "ffn_up.": "layer.1.DenseReluDense.wi_1.",
    "ffn_down.": "layer.1.DenseReluDense.wo.",
    "ffn_gate.": "layer.1.DenseReluDense.wi_0.",
    "attn_rel_b.": "layer.0.SelfAttention.relative_attention_bias.",
    "token_embd.": "shared.",
}

_TIMES: Mapping[str, str] = {"linear_1": "0", "linear_2": "2"}
_SD3_LAYERS, _FLUX_LAYERS, _FLUX_SINGLE_LAYERS = 38, 19, 38
_Z_IMAGE_LAYERS: Mapping[str, int] = {"noise_refiner": 2, "context_refiner": 2, "layers": 30}
_Pairs = Iterator[tuple[str, str]]


def sd1_layers() -> _Pairs:
    """Yield parts of the names of Stable Diffusion 1's and 2's U-Net, diffusers' and the original ones."""
    for level in range(4):
        for index in range(2):
            down = f"input_blocks.{3 * level + index + 1}"
            yield f"down_blocks.{level}.resnets.{index}.", f"{down}.0."
            if level < 3:
                yield f"down_blocks.{level}.attentions.{index}.", f"{down}.1."
        for index in range(3):
            yield f"up_blocks.{level}.resnets.{index}.", f"output_blocks.{3 * level + index}.0."
            yield f"up_blocks.{level}.attentions.{index}.", f"output_blocks.{3 * level + index}.1."
        if level < 3:
            yield from _resampling(level)
    yield from _middle_block()


def sdxl_layers() -> _Pairs:
    """Yield the same of Stable Diffusion XL's U-Net."""
    for level in range(3):
        for index in range(2):
            down = f"input_blocks.{3 * level + index + 1}"
            yield f"down_blocks.{level}.resnets.{index}.", f"{down}.0."
            if level > 0:
                yield f"down_blocks.{level}.attentions.{index}.", f"{down}.1."
        for index in range(4):
            yield f"up_blocks.{level}.resnets.{index}.", f"output_blocks.{3 * level + index}.0."
            if level < 2:
                yield f"up_blocks.{level}.attentions.{index}.", f"output_blocks.{3 * level + index}.1."
        yield from _resampling(level)
    yield "output_blocks.2.1.conv.", "output_blocks.2.2.conv."
    yield from _middle_block()
    yield "to_out.weight", "to_out.0.weight"
    yield "to_out.bias", "to_out.0.bias"


def sd3_starts() -> dict[str, str]:
    """Return starts of names of Stable Diffusion 3 in diffusers, and what stands for them."""
    pairs = {**_embedders("t_embedder.mlp.{0}", "y_embedder.mlp.{0}", _TIMES), "pos_embed.pos_embed": "pos_embed"}
    pairs |= _both("pos_embed.proj", "x_embedder.proj") | _last_layer()
    for index in range(_SD3_LAYERS):
        own, block = f"transformer_blocks.{index}", f"joint_blocks.{index}"
        for stream, norm, mlp in (("x_block", "norm1", "ff"), ("context_block", "norm1_context", "ff_context")):
            pairs |= _both(f"{own}.{norm}.linear", f"{block}.{stream}.adaLN_modulation.1")
            pairs |= _both(f"{own}.{mlp}.net.0.proj", f"{block}.{stream}.mlp.fc1")
            pairs |= _both(f"{own}.{mlp}.net.2", f"{block}.{stream}.mlp.fc2")
        for attention in ("attn", "attn2"):
            x, context = f"{block}.x_block.{attention}", f"{block}.context_block.{attention}"
            pairs |= _streams(f"{own}.{attention}", x, context)
            pairs |= {f"{own}.{attention}.norm_{part}.weight": f"{x}.ln_{part}.weight" for part in "qk"}
        context = f"{block}.context_block.attn"
        pairs |= {f"{own}.attn.norm_added_{part}.weight": f"{context}.ln_{part}.weight" for part in "qk"}
    return pairs


def flux_starts() -> dict[str, str]:
    """Return the same of FLUX.1."""
    pairs = _embedders("time_in.{0}", "vector_in.{0}", {"linear_1": "in_layer", "linear_2": "out_layer"})
    pairs |= _embedder("guidance_embedder", "guidance_in.{0}", {"linear_1": "in_layer", "linear_2": "out_layer"})
    pairs |= _both("context_embedder", "txt_in") | _both("x_embedder", "img_in") | _last_layer()
    for index in range(_FLUX_LAYERS):
        own, block = f"transformer_blocks.{index}", f"double_blocks.{index}"
        for stream, norm, mlp in (("img", "norm1", "ff"), ("txt", "norm1_context", "ff_context")):
            pairs |= _both(f"{own}.{norm}.linear", f"{block}.{stream}_mod.lin")
            pairs |= _both(f"{own}.{mlp}.net.0.proj", f"{block}.{stream}_mlp.0")
            pairs |= _both(f"{own}.{mlp}.net.2", f"{block}.{stream}_mlp.2")
        pairs |= _streams(f"{own}.attn", f"{block}.img_attn", f"{block}.txt_attn")
        for norm, stream in (("norm", "img"), ("norm_added", "txt")):
            pairs |= _scales(f"{own}.attn.{norm}", f"{block}.{stream}_attn.norm")
    for index in range(_FLUX_SINGLE_LAYERS):
        own, block = f"single_transformer_blocks.{index}", f"single_blocks.{index}"
        pairs |= _both(f"{own}.norm.linear", f"{block}.modulation.lin") | _both(f"{own}.proj_out", f"{block}.linear2")
        fused = [*(f"{own}.attn.to_{part}" for part in "qkv"), f"{own}.proj_mlp"]
        pairs |= _fused(fused, f"{block}.linear1") | _scales(f"{own}.attn.norm", f"{block}.norm")
    return pairs


def z_image_starts() -> dict[str, str]:
    """Return the same of Z-Image."""
    pairs = {"all_x_embedder.2-1.": "x_embedder.", "all_final_layer.2-1.": "final_layer."}
    for layers, count in _Z_IMAGE_LAYERS.items():
        for index in range(count):
            attention = f"{layers}.{index}.attention"
            pairs |= {f"{attention}.norm_{part}.": f"{attention}.{part}_norm." for part in "qk"}
            pairs[f"{attention}.to_out.0."] = f"{attention}.out."
            pairs |= _fused([f"{attention}.to_{part}" for part in "qkv"], f"{attention}.qkv")
    return pairs


def _resampling(level: int) -> _Pairs:
    yield f"down_blocks.{level}.downsamplers.0.conv.", f"input_blocks.{3 * (level + 1)}.0.op."
    yield f"up_blocks.{level}.upsamplers.0.", f"output_blocks.{3 * level + 2}.{2 if level else 1}."


def _middle_block() -> _Pairs:
    yield "mid_block.attentions.0.", "middle_block.1."
    yield "mid_block.resnets.0.", "middle_block.0."
    yield "mid_block.resnets.1.", "middle_block.2."


def _both(own: str, original: str) -> dict[str, str]:
    return {f"{own}.{kind}": f"{original}.{kind}" for kind in ("weight", "bias")}


def _fused(own: list[str], original: str) -> dict[str, str]:
    """Return the names of what are parts, one below the other, of one tensor: all but the first have numbers."""
    return {
        f"{part}.{kind}": f"{original}.{kind}{f'.{index}' if index else ''}"
        for index, part in enumerate(own)
        for kind in ("weight", "bias")
    }


def _streams(own: str, picture: str, text: str) -> dict[str, str]:
    """Return the names in an attention of two streams."""
    pairs = _fused([f"{own}.to_{part}" for part in "qkv"], f"{picture}.qkv")
    pairs |= _fused([f"{own}.add_{part}_proj" for part in "qkv"], f"{text}.qkv")
    return pairs | _both(f"{own}.to_out.0", f"{picture}.proj") | _both(f"{own}.to_add_out", f"{text}.proj")


def _scales(own: str, original: str) -> dict[str, str]:
    parts = {"q": "query", "k": "key"}
    return {f"{own}_{part}.weight": f"{original}.{name}_norm.scale" for part, name in parts.items()}


def _embedders(time: str, text: str, layers: Mapping[str, str]) -> dict[str, str]:
    return _embedder("timestep_embedder", time, layers) | _embedder("text_embedder", text, layers)


def _embedder(name: str, original: str, layers: Mapping[str, str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for layer, place in layers.items():
        pairs |= _both(f"time_text_embed.{name}.{layer}", original.format(place))
    return pairs


def _last_layer() -> dict[str, str]:
    return _both("proj_out", "final_layer.linear") | _both("norm_out.linear", "final_layer.adaLN_modulation.1")
