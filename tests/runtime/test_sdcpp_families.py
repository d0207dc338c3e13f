"""Families of weights, told from names and shapes as their makers' files have them; no weights."""

from collections.abc import Mapping

import pytest

from heliograph_api.sampler_table import SAMPLERS
from heliograph_runtime.engines.protocol import LoadError
from heliograph_runtime.engines.sdcpp import known
from heliograph_runtime.engines.sdcpp.families import find_family, holds_diffusion_alone
from heliograph_runtime.engines.sdcpp.known import Family
from runtime.sdcpp_files import Shapes, header_of
from runtime.sdcpp_shapes import (
    CLIP_L,
    FLUX_VAE,
    GPUSTACK,
    GPUSTACK_INPAINTING,
    GPUSTACK_REFINER,
    LLM,
    LLM_GGUF,
    SD2_CLIP,
    T5,
    T5_GGUF,
    WAN_VAE,
    XL_CLIPS,
    P,
    clip,
    flux,
    flux2,
    prefixed,
    sd3,
    unet,
    wan,
)

OTHERS: Mapping[str, tuple[Shapes, str]] = {
    "original SD 2": ({**prefixed(P, unet()), **SD2_CLIP}, "sd2"),
    "original SDXL": ({**prefixed(P, unet()), **XL_CLIPS}, "sdxl"),
    "InstructPix2Pix": ({**prefixed(P, unet(8)), **CLIP_L}, "sd1-pix2pix"),
    "CosXL Edit": ({**prefixed(P, unet(8)), **XL_CLIPS, "edm_vpred.sigma_max": ()}, "sdxl-cosxl-edit"),
    "Vega": ({**prefixed(P, unet(middle=False)), **XL_CLIPS}, "vega"),
    "SSD-1B": (
        {
            **prefixed(P, {**unet(middle=False), "output_blocks.3.1.transformer_blocks.1.norm1.weight": (640,)}),
            **XL_CLIPS,
        },
        "ssd-1b",
    ),
    "tiny SD": ({**prefixed(P, unet(middle=False)), **CLIP_L}, "sd1-small"),
    "tiny SD 2": ({**prefixed(P, unet(middle=False)), **SD2_CLIP}, "sd2-small"),
    "SDXS 512": ({**prefixed(P, {"input_blocks.0.0.weight": (320, 4, 3, 3)}), **CLIP_L}, "sdxs"),
    "SDXS 0.9": (
        {
            **prefixed(
                P,
                {**unet(middle=False), "output_blocks.7.1.transformer_blocks.0.attn1.to_k.weight": (320, 1024)},
            ),
            **SD2_CLIP,
        },
        "sdxs-0.9",
    ),
    "SD 3 without prefix": (sd3(24), "sd3-medium"),
    "FLUX without prefix": (flux(), "flux-dev"),
    "FLUX Depth or Canny": (flux(128), "flux-controls"),
    "Chroma": ({**flux(guidance=False), "distilled_guidance_layer.in_proj.weight": (5120, 64)}, "chroma"),
    "Radiance": (
        {
            **flux(guidance=False),
            "distilled_guidance_layer.in_proj.weight": (5120, 64),
            "nerf_final_layer_conv.conv.weight": (3, 64, 3, 3),
        },
        "chroma-radiance",
    ),
    "Ovis": ({**flux(guidance=False), "double_blocks.0.img_mlp.gate_proj.weight": (9, 9)}, "ovis-image"),
    "FLUX.2": ({**flux2(48), "guidance_in.in_layer.weight": (6144, 256)}, "flux2"),
    "FLUX.2 klein": (flux2(20), "flux2-klein"),
    "Qwen-Image": ({"transformer_blocks.0.img_mod.1.weight": (9, 9)}, "qwen-image"),
    "Z-Image": ({"cap_embedder.0.weight": (2560,), "layers.0.attention.qkv.weight": (9, 9)}, "z-image"),
    "Anima": ({"net.llm_adapter.blocks.0.cross_attn.q_proj.weight": (9, 9)}, "anima"),
    "ERNIE-Image": ({"layers.0.adaLN_sa_ln.weight": (9,)}, "ernie-image"),
    "Wan 2.1 T2V 1.3B": (wan(30, 1536, 16), "wan-t2v"),
    "Wan 2.2 T2V 14B": (prefixed(P, wan(40, 5120, 16)), "wan-t2v"),
    "Wan 2.1 I2V": (wan(40, 5120, 36, **{"img_emb.proj.0.weight": (1280,)}), "wan-i2v"),
    "Wan 2.1 FLF2V": (
        wan(40, 5120, 36, **{"img_emb.proj.0.weight": (1280,), "img_emb.emb_pos": (1, 514, 1280)}),
        "wan-flf2v",
    ),
    "Wan 2.2 I2V": (wan(40, 5120, 36), "wan2.2-i2v"),
    "Wan 2.2 TI2V": (wan(30, 3072, 48), "wan2.2-ti2v"),
}


@pytest.mark.parametrize("model", [*GPUSTACK, *GPUSTACK_INPAINTING])
def test_the_models_that_gpustack_lists(model: str) -> None:
    shapes, name, defaults = (GPUSTACK | GPUSTACK_INPAINTING)[model]

    family = find_family([header_of(shapes)])

    assert (family.name, family.defaults) == (name, defaults)


@pytest.mark.parametrize("model", OTHERS)
def test_all_other_families(model: str) -> None:
    shapes, name = OTHERS[model]
    extras = [header_of(shapes) for shapes in (T5_GGUF, LLM_GGUF, T5, LLM, clip(768), FLUX_VAE, WAN_VAE)]

    assert find_family([header_of(shapes)]).name == name
    assert find_family([header_of(shapes), *extras]).name == name


def every_family() -> list[Family]:
    single = [value for value in vars(known).values() if isinstance(value, Family)]
    tables = [value for name, value in vars(known).items() if name.isupper() and isinstance(value, dict)]
    return [*single, *(family for table in tables for family in table.values() if isinstance(family, Family))]


def test_each_family_can_be_told_and_has_values_that_exist() -> None:
    listed = (GPUSTACK | GPUSTACK_INPAINTING).values()
    told = {name for _, name, _ in listed} | {name for _, name in OTHERS.values()}
    drawn = {sampler.name for sampler in SAMPLERS if sampler.sdcpp}

    assert {family.name for family in every_family()} == told
    assert {family.defaults.sampler for family in every_family()} <= drawn
    assert {family.name for family in every_family() if family.inpaints} == {
        "sd1-inpaint", "sd2-inpaint", "sdxl-inpaint", "flux-fill",
    }  # fmt: skip
    assert {family.name: family.follows for family in every_family() if family.follows} == {
        "sd1-pix2pix": "references", "sdxl-cosxl-edit": "references", "flux-controls": "control_image",
    }  # fmt: skip
    assert {family.name for family in every_family() if family.clips} == {
        "wan-t2v", "wan-i2v", "wan-flf2v", "wan2.2-i2v", "wan2.2-ti2v",
    }  # fmt: skip


REFINER = {**prefixed(P, unet()), "conditioner.embedders.0.model.token_embedding.weight": (49408, 1280)}
SVD = prefixed(P, {**unet(8), "input_blocks.8.0.time_mixer.mix_factor": (1,)})


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({}, "none at all"),
        (clip(768), "text_model.embeddings.token_embedding.weight"),
        (T5_GGUF, "token_embd.weight"),
        ({"blocks.0.cross_attn.q_linear.weight": (9, 9)}, "blocks.0.cross_attn.q_linear.weight"),
        ({"transformer_blocks.0.attn.to_q.weight": (9, 9)}, "transformer_blocks.0.attn.to_q.weight"),
        ({"control_model.input_blocks.0.0.weight": (320, 4, 3, 3)}, "control_model"),
        (prefixed(P, unet()), "text encoder"),
        (REFINER, "refiner"),
        (GPUSTACK_REFINER, "refiner"),
        (SVD, "Stable Video Diffusion"),
        (flux(196), "Flex.2"),
        ({**prefixed(P, unet(8)), **XL_CLIPS}, "other than CosXL Edit"),
        (wan(12, 1536, 16), "12 layers"),
        (wan(30, 1536, 36, **{"img_emb.emb_pos": (1, 514, 1280)}), "runs those of 40"),
    ],
    ids=[
        "nothing",
        "CLIP",
        "T5",
        "Sana",
        "diffusers",
        "ControlNet",
        "bare U-Net",
        "refiner",
        "GPUStack's refiner",
        "SVD",
        "Flex.2",
        "XL edit",
        "small Wan",
        "small FLF2V",
    ],
)  # fmt: skip
def test_what_stable_diffusion_cpp_does_not_run_is_refused(shapes: Shapes, said: str) -> None:
    with pytest.raises(LoadError) as caught:
        find_family([header_of(shapes)], field="options: diffusion_model_path")

    assert caught.value.reason == "UnknownFormat"
    assert caught.value.message.startswith("options: diffusion_model_path: ")
    assert said in caught.value.message


def test_wan_vace_is_refused() -> None:
    with pytest.raises(LoadError) as caught:
        find_family([header_of(wan(30, 1536, 16, **{"vace_blocks.0.self_attn.q.weight": (1536, 1536)}))])

    assert caught.value.reason == "Unsupported"
    assert "Wan VACE" in caught.value.message


def test_a_main_file_goes_before_the_others() -> None:
    assert find_family([header_of(flux(384)), header_of(flux(64))]).name == "flux-fill"


@pytest.mark.parametrize(
    ("shapes", "alone"),
    [(flux(), True), (prefixed(P, flux()), False), ({**prefixed(P, unet()), **CLIP_L}, False), (FLUX_VAE, False)],
)
def test_a_diffusion_model_alone_is_told_from_a_checkpoint(shapes: Shapes, alone: bool) -> None:
    assert holds_diffusion_alone(header_of(shapes)) is alone
