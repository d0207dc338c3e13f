"""What tensors take in memory once stable-diffusion.cpp has loaded them, which is not what they take in the file.

Sources: `ggml_extend.hpp`, `model.cpp` and `clip.hpp` of stable-diffusion.cpp in stable-diffusion-cpp-python 0.4.7.
"""

from collections.abc import Mapping

from heliograph_runtime.engines.sdcpp.tensors import BLOCKS, TensorInfo, elements

_ALIGNMENT = 32
"""Bytes that a tensor's data are aligned to in main memory; 128 on CUDA, which is as little."""
_READ_AS: Mapping[str, str] = {"f8_e4m3": "f16", "f8_e5m2": "f16", "f64": "f32", "i64": "i32"}
"""`safetensors_io.cpp`: types that ggml does not have, or not for this."""
_UNUSED = (
    "betas", "alphas_cumprod_prev", "sqrt_", "log_one_minus_alphas_cumprod", "posterior_", "model_ema.",
    "embedding_manager", "denoiser.sigmas", "ztsnr", "edm_vpred.", "v_pred", "lm_head.", "output.weight",
    "encoder.embed_tokens.weight", "first_stage_model.bn.", "bn.",
)  # fmt: skip
"""`unused_tensors` of `model.cpp`, without the prefixes of files of their own."""
_UNUSED_ENDS = ("position_ids", "logit_scale")
_LOOKED_UP = (
    "token_embedding", "token_embd", "shared.weight", "embed_tokens", "relative_attention_bias", "attn_rel_b",
)  # fmt: skip
_ROWS_OF = frozenset({"f16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"})
"""`support_get_rows`: types whose rows can be looked up; tables of others become f32."""
_KEPT = (
    "img_in.", "txt_in.", "time_in.", "vector_in.", "guidance_in.", "final_layer.", "x_embedder.",
    "t_embedder.", "y_embedder.", "pos_embed", "context_embedder.", "time_embed.", "label_emb.", "embedding",
)  # fmt: skip
"""`tensor_should_be_converted`: names that the option `wtype` leaves alone."""


def loaded_type(name: str, info: TensorInfo, *, wtype: str | None = None) -> str | None:
    """Return the type of a tensor in memory; None for one that is not loaded.

    Args:
        name: Its name.
        info: What it is in the file.
        wtype: The type that the option of this name asks for.
    """
    if info.type == "u8" or name.startswith(_UNUSED) or name.endswith(_UNUSED_ENDS):
        return None
    if len(info.shape) >= 4:
        return "f16"  # Conv2d and Conv3d
    if len(info.shape) != 2 or "position_embedding" in name:
        return "f32"  # biases, norms, tables of positions
    kind = _READ_AS.get(info.type, info.type)
    if wtype is not None and not any(kept in name for kept in _KEPT) and info.shape[-1] % BLOCKS[wtype][0] == 0:
        kind = wtype
    if any(table in name for table in _LOOKED_UP) and kind not in _ROWS_OF:
        return "f32"
    return kind if info.shape[-1] % BLOCKS[kind][0] == 0 else "f32"


def loaded_bytes(name: str, info: TensorInfo, *, wtype: str | None = None) -> int:
    """Return the bytes that a tensor takes in memory; 0 for one that is not loaded."""
    kind = loaded_type(name, info, wtype=wtype)
    if kind is None:
        return 0
    block, size = BLOCKS[kind]
    return -(-elements(info.shape) // block * size // _ALIGNMENT) * _ALIGNMENT


def converted_bytes(name: str, info: TensorInfo, *, wtype: str | None = None) -> int:
    """Return the bytes of the buffers through which a tensor goes whose type changes; 0 for one read in place.

    It is read into the first; where neither type is f32, that lies between them, in the second (`convert_tensor`).
    """
    read, kind = _READ_AS.get(info.type, info.type), loaded_type(name, info, wtype=wtype)
    if kind in {None, read}:
        return 0
    block, size = BLOCKS[read]
    between = 0 if "f32" in {read, kind} else elements(info.shape) * BLOCKS["f32"][1]
    return max(info.bytes, elements(info.shape) // block * size) + between
