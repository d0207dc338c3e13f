"""What stable-diffusion.cpp calls the tensors of models and of adapters, whatever their files call them.

A port of `convert_tensor_name` (`name_conversion.cpp` of stable-diffusion-cpp-python 0.4.7), with the order of its
steps and its oddities, so that an adapter is taken to change what the library will change. Left out are VAEs and
language models, which adapters are not accepted for.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache

from heliograph_runtime.engines.sdcpp.families import PREFIX
from heliograph_runtime.engines.sdcpp.known import Family
from heliograph_runtime.engines.sdcpp.name_tables import (
    CLIP_NAMES,
    LORA_ENDINGS,
    OPEN_CLIP_LAYER,
    OPEN_CLIP_NAMES,
    RESNET_NAMES,
    SDXL_NAMES,
    T5_NAMES,
    UNDERLINED_TOKENS,
    UNET_NAMES,
    flux_starts,
    sd1_layers,
    sd3_starts,
    sdxl_layers,
    z_image_starts,
)

_LORA_STARTS = ("lora.lora.", "lora.lora_", "lora.lycoris_", "lora.lycoris.", "lora.")
_UNDERLINED_STARTS = ("unet_", "te_", "te1_", "te2_", "te3_", "vae_")
_DIT_BLOCKS = ("transformer_blocks", "single_transformer_blocks")
_ENCODERS = ("cond_stage_model.1.", "cond_stage_model.", "conditioner.embedders.", "text_encoders.")
_STARTS: Mapping[str, str] = {
    "diffusion_model.": PREFIX,
    "unet.": PREFIX,
    "transformer.": PREFIX,
    "vae.": "first_stage_model.",
    "text_encoder.2.": "cond_stage_model.1.transformer.",
    "text_encoder.": "cond_stage_model.transformer.",
    "te.": "cond_stage_model.transformer.",
    "conditioner.embedders.0.": "cond_stage_model.",
    "conditioner.embedders.1.": "cond_stage_model.1.",
    "te2.": "cond_stage_model.1.transformer.",
    "te1.": "cond_stage_model.transformer.",
    "te3.": "text_encoders.t5xxl.transformer.",
}
_FLUX_CLIP = "text_encoders.clip_l.transformer."
_RESBLOCKS: Mapping[str, str] = {
    "model.transformer.resblocks.": "transformer.text_model.encoder.layers.",
    "model.visual.transformer.resblocks.": "transformer.vision_model.encoder.layers.",
}
_ANIMA_START = "net."


def model_tensor(name: str, family: Family) -> str:
    """Return what the library calls a tensor of a model; raise `ValueError` for a name that ends its process."""
    start = next((start for start in _STARTS if name.startswith(start)), None)
    if start is not None:
        flux_clip = start == "te1." and family.backbone == "flux" and not family.name.startswith("flux2")
        name = (_FLUX_CLIP if flux_clip else _STARTS[start]) + name.removeprefix(start)
    if name.startswith(PREFIX):
        return PREFIX + _diffusion_name(name.removeprefix(PREFIX), family)
    encoder = next((start for start in _ENCODERS if name.startswith(start)), None)
    return name if encoder is None else encoder + _encoder_name(name.removeprefix(encoder))


def lora_tensor(name: str, family: Family) -> str:
    """Return what the library calls a tensor of an adapter: the tensor that it changes, a dot, and its part in that.

    Raises:
        ValueError: It is a name that ends the library's process.
    """
    whole = f"lora.{name}"
    start = next(start for start in _LORA_STARTS if whole.startswith(start))
    name = whole.removeprefix(start)
    underlined = start == "lora.lycoris_" or name.startswith(_UNDERLINED_STARTS)
    ending = next((ending for ending in LORA_ENDINGS if name.endswith(ending)), None)
    if ending is not None:
        name = name.removesuffix(ending) + LORA_ENDINGS[ending]
    name = name.replace(".processor", "", 1)
    if name.startswith(_DIT_BLOCKS):
        name = f"transformer.{name}"
    if family.backbone == "unet" or underlined:
        name = _dotted(name)
    return model_tensor(name, family)


def _dotted(name: str) -> str:
    """Return a name whose underscores are dots, those within the words that have some aside."""
    kept = {
        match.start() + place
        for token in UNDERLINED_TOKENS
        for match in re.finditer(re.escape(token), name)
        for place, character in enumerate(token)
        if character == "_"
    }
    return "".join("." if character == "_" and place not in kept else character for place, character in enumerate(name))


def _diffusion_name(name: str, family: Family) -> str:
    if family.backbone == "unet":
        sdxl = family.generation == "sdxl"
        return _unet_name(
            name, {**UNET_NAMES, **SDXL_NAMES} if sdxl else UNET_NAMES, _sdxl_layers() if sdxl else _layers()
        )
    if family.backbone == "mmdit":
        return _replaced_start(name, _sd3_starts())
    if family.backbone == "flux":
        return _replaced_start(name, _flux_starts())
    if family.name == "z-image":
        return _replaced_start(name, _z_image_starts())
    if family.name == "anima" and not name.startswith(_ANIMA_START):
        return _ANIMA_START + name
    return name


def _unet_name(name: str, whole: Mapping[str, str], layers: Iterable[tuple[str, str]]) -> str:
    if name in whole:
        return whole[name]
    if "resnets" in name:
        for diffusers, original in RESNET_NAMES.items():
            name = name.replace(diffusers, original, 1)
    for diffusers, original in layers:
        name = name.replace(diffusers, original, 1)
    return name


def _encoder_name(name: str) -> str:
    if "t5xxl" in name:
        for short, original in T5_NAMES.items():
            name = name.replace(short, original, 1)
        return name
    if "llm" in name:
        return name
    name = OPEN_CLIP_NAMES.get(name, name)
    for start, layers in _RESBLOCKS.items():
        if name.startswith(start):
            index, dot, rest = name.removeprefix(start).partition(".")
            if not dot:
                raise ValueError(name)
            name = f"{layers}{index}.{OPEN_CLIP_LAYER[rest]}" if rest in OPEN_CLIP_LAYER else name
    for other, original in CLIP_NAMES.items():
        name = name.replace(other, original, 1)
    return name


def _replaced_start(name: str, starts: Mapping[str, str]) -> str:
    start = next((start for start in starts if name.startswith(start)), None)
    return name if start is None else starts[start] + name.removeprefix(start)


_layers = cache(lambda: tuple(sd1_layers()))
_sdxl_layers = cache(lambda: tuple(sdxl_layers()))
_sd3_starts = cache(sd3_starts)
_flux_starts = cache(flux_starts)
_z_image_starts = cache(z_image_starts)
