"""Tensors are called what stable-diffusion.cpp calls them: the port of its rules against the loaded library."""

import random
from typing import Any

import pytest
from stable_diffusion_cpp import stable_diffusion_cpp as native

from heliograph_runtime.engines.sdcpp import known, name_tables
from heliograph_runtime.engines.sdcpp.names import lora_tensor, model_tensor
from runtime.sdcpp_library import library_name

LIBRARY: Any = native._lib
MODEL_STARTS = (
    "", "model.diffusion_model.", "unet.", "transformer.", "diffusion_model.", "cond_stage_model.", "te.", "te1.",
    "te2.", "te3.", "conditioner.embedders.0.", "conditioner.embedders.1.", "text_encoder.", "text_encoder_2.",
    "text_encoders.t5xxl.transformer.", "text_encoders.clip_l.transformer.", "net.",
)  # fmt: skip
LORA_STARTS = (
    "lora_unet_",
    "lora_te_",
    "lora_te1_",
    "lora_te2_",
    "lora_te3_",
    "lycoris_",
    "lora_transformer_",
    "lora.",
)
FAMILIES = (
    known.SD1, known.SD2, known.SDXL, known.SD3_MEDIUM, known.FLUX_DEV, known.QWEN_IMAGE, known.ANIMA, known.FLUX2,
    known.Z_IMAGE,
)  # fmt: skip
SAMPLES = 30


def modules() -> list[str]:
    """Return names of layers, whatever family they are of and whoever calls them so."""
    unets = [name for pair in (*name_tables.sd1_layers(), *name_tables.sdxl_layers()) for name in pair]
    layers = ("conv1", "time_emb_proj", "proj_in", "transformer_blocks.1.attn2.to_out.0", "conv")
    dits = name_tables.sd3_starts() | name_tables.flux_starts() | name_tables.z_image_starts()
    clips = [f"model.transformer.resblocks.3.{name}" for name in name_tables.OPEN_CLIP_LAYER]
    others = [
        *name_tables.UNET_NAMES, *name_tables.SDXL_NAMES, *name_tables.OPEN_CLIP_NAMES, *clips,
        *(f"enc.blk.2.{name}" for name in name_tables.T5_NAMES), "transformer_blocks.0.attn.processor.to_q",
        "text_model.encoder.layers.3.self_attn.q_proj", "encoder.block.3.layer.0.SelfAttention.q",
    ]  # fmt: skip
    names = {f"{unet}{layer}" for unet in unets for layer in layers} | {*dits, *dits.values(), *others}
    return sorted({name.removesuffix(".weight").removesuffix(".bias").strip(".") for name in names})


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_names_are_the_library_s(family: known.Family) -> None:
    compared = 0
    for module in random.Random(family.name).sample(modules(), SAMPLES):
        for start in MODEL_STARTS:
            for name in (f"{start}{module}", f"{start}{module}.weight"):
                theirs = library_name(LIBRARY, name, family.name)
                assert theirs in {None, model_tensor(name, family)}, name
                compared += theirs is not None
        for ending in name_tables.LORA_ENDINGS:
            for name in [f"{start}{module.replace('.', '_')}{ending}" for start in LORA_STARTS] + [f"{module}{ending}"]:
                assert library_name(LIBRARY, f"lora.{name}", family.name) == f"lora.{lora_tensor(name, family)}", name
                compared += 1
    assert compared > SAMPLES * len(LORA_STARTS)
