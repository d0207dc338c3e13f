"""Which parts of a model its files bring, and which it can't do without.

stable-diffusion.cpp only warns of a text encoder that is missing, and then ends the process at the first prompt.
"""

from collections.abc import Iterable, Mapping, Sequence

from heliograph_runtime.engines.protocol import LoadError
from heliograph_runtime.engines.sdcpp.known import Family, Part
from heliograph_runtime.engines.sdcpp.tensors import Header, quoted

OPTIONS: Mapping[Part, str] = {
    "clip_l": "clip_l_path",
    "clip_g": "clip_g_path",
    "t5xxl": "t5xxl_path",
    "llm": "llm_path",
    "vae": "vae_path",
    "clip_vision": "clip_vision_path",
}
"""Options that name a file of a part."""

_IN_UNET_CHECKPOINTS: Mapping[Part, tuple[str, ...]] = {
    "clip_g": ("cond_stage_model.1.", "conditioner.embedders.1.", "te.1.", "te2."),
    "clip_l": ("cond_stage_model.", "conditioner.embedders.0.", "te.", "te1."),
}
_IN_OTHER_CHECKPOINTS: Mapping[Part, tuple[str, ...]] = {
    "clip_l": ("text_encoders.clip_l.",),
    "clip_g": ("text_encoders.clip_g.",),
    "t5xxl": ("text_encoders.t5xxl.", "te3."),
    "llm": ("text_encoders.llm.",),
    "clip_vision": ("cond_stage_model.transformer.vision_model.",),
}
_VAE = ("first_stage_model.", "vae.", "tae.")
_ALONE: Mapping[Part, tuple[str, ...]] = {
    "t5xxl": ("encoder.block.0.layer.0.SelfAttention.q.weight", "enc.blk.0.attn_q.weight"),
    "llm": ("model.layers.0.self_attn.q_proj.weight", "blk.0.attn_q.weight"),
    "vae": (
        "decoder.conv_in.weight", "decoder.conv1.weight", "decoder.layers.0.weight", "decoder.1.weight",
    ),
    "clip_vision": ("vision_model.embeddings.class_embedding", "visual.class_embedding"),
}  # fmt: skip
"""Tensors of parts that have files of their own."""
_TOKENS = ("text_model.embeddings.token_embedding.weight", "token_embedding.weight")
_CLIPS: Mapping[int, Part] = {768: "clip_l", 1024: "clip_l", 1280: "clip_g"}
"""CLIP's text encoders by the width of their token embedding."""

_LLAMA_BOX = ("cond_stage_model.",)
"""Where llama-box's all-in-one files keep the text encoders of transformers: where those of U-Nets are."""


def parts_of(header: Header, family: Family) -> frozenset[Part]:
    """Return the parts beside the diffusion model that stable-diffusion.cpp finds in a file."""
    inside = _IN_UNET_CHECKPOINTS if family.backbone == "unet" else _IN_OTHER_CHECKPOINTS
    found: set[Part] = {
        part
        for name in header.tensors
        if (part := next((part for part, starts in inside.items() if name.startswith(starts)), None)) is not None
    }
    found |= {part for part, names in _ALONE.items() if any(name in header.tensors for name in names)}
    for name in _TOKENS:
        if name in header.tensors and (clip := _CLIPS.get(header.tensors[name].shape[-1])) is not None:
            found.add(clip)
    if any(name.startswith(_VAE) for name in header.tensors):
        found.add("vae")
    return frozenset(found)


def absent_parts(family: Family, headers: Iterable[Header]) -> tuple[Part, ...]:
    """Return the parts that a family was trained with and no file brings, those that it could do without included."""
    found = frozenset[Part]().union(*(parts_of(header, family) for header in headers))
    return tuple(part for part in family.needs if part not in found)


def missing_parts(family: Family, headers: Sequence[Header]) -> tuple[Part, ...]:
    """Return the parts that no file brings and without which the model can't be loaded."""
    absent = absent_parts(family, headers)
    encoders = {part for part in family.needs if part not in {"vae", "clip_vision"}}
    needless = encoders - {part for group in family.enough for part in group} if family.enough else set()
    if any(set(absent).isdisjoint(group) for group in family.enough):
        needless = encoders
    return tuple(part for part in absent if part not in needless)


def check_parts(family: Family, headers: Sequence[Header]) -> None:
    """Raise `LoadError` if a part is missing without which the model can't be loaded."""
    missing = missing_parts(family, headers)
    if not missing:
        return
    wanted = ", ".join(OPTIONS[part] for part in missing)
    raise LoadError(
        "WeightsMissing",
        f"options: {family.title} needs {', '.join(missing)}, which no file brings{_misnamed(family, headers)}; "
        f"name files in {wanted}",
    )


def _misnamed(family: Family, headers: Iterable[Header]) -> str:
    """Return what to say of text encoders that are there under names which stable-diffusion.cpp does not look up."""
    if family.backbone == "unet":
        return ""
    names = (name for header in headers for name in header.tensors)
    name = next((name for name in names if name.startswith(_LLAMA_BOX)), None)
    return "" if name is None else f" under a name that stable-diffusion.cpp reads (not {quoted(name)})"
