"""Families of weights, told from names and shapes as their makers' files have them; no weights."""

from collections.abc import Mapping

import pytest

from heliograph_api.sampler_table import SAMPLERS
from heliograph_runtime.engines.protocol import LoadError
from heliograph_runtime.engines.sdcpp import known
from heliograph_runtime.engines.sdcpp.families import find_family, holds_diffusion_alone
from heliograph_runtime.engines.sdcpp.known import Defaults, Family
from heliograph_runtime.engines.sdcpp.parts import absent_parts, check_parts, missing_parts, parts_of
from runtime.sdcpp_files import Shapes, header_of

P = "model.diffusion_model."
VAE: Shapes = {"first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3)}


def prefixed(start: str, shapes: Shapes) -> Shapes:
    return {start + name: shape for name, shape in shapes.items()}


def clip(width: int) -> Shapes:
    return {"text_model.embeddings.token_embedding.weight": (49408, width)}


T5: Shapes = {"encoder.block.0.layer.0.SelfAttention.q.weight": (4096, 4096)}
T5_GGUF: Shapes = {"enc.blk.0.attn_q.weight": (4096, 4096), "token_embd.weight": (32128, 4096)}
LLM: Shapes = {"model.layers.0.self_attn.q_proj.weight": (3584, 3584)}
LLM_GGUF: Shapes = {"blk.0.attn_q.weight": (3584, 3584), "output.weight": (152064, 3584)}
WAN_VAE: Shapes = {"decoder.conv1.weight": (384, 16, 3, 3, 3)}
FLUX_VAE: Shapes = {"decoder.conv_in.weight": (512, 16, 3, 3)}
TAE: Shapes = {"decoder.layers.0.weight": (64, 16, 3, 3)}

CLIP_L = prefixed("cond_stage_model.transformer.", clip(768))
SD2_CLIP: Shapes = {"cond_stage_model.model.token_embedding.weight": (49408, 1024)}
SD2_CLIP_BOX = prefixed("cond_stage_model.transformer.", clip(1024))
XL_CLIPS = {
    **prefixed("conditioner.embedders.0.transformer.", clip(768)),
    "conditioner.embedders.1.model.token_embedding.weight": (49408, 1280),
}
XL_CLIPS_BOX = {**CLIP_L, **prefixed("cond_stage_model.1.transformer.", clip(1280))}
SD3_ENCODERS = {
    **prefixed("text_encoders.clip_l.transformer.", clip(768)),
    **prefixed("text_encoders.clip_g.transformer.", clip(1280)),
    **prefixed("text_encoders.t5xxl.transformer.", T5),
}
FLUX_ENCODERS = {
    **prefixed("text_encoders.clip_l.transformer.", clip(768)),
    **prefixed("text_encoders.t5xxl.transformer.", T5),
}
SD3_ENCODERS_BOX = {**XL_CLIPS_BOX, **prefixed("cond_stage_model.2.transformer.", T5)}
FLUX_ENCODERS_BOX = {**CLIP_L, **prefixed("cond_stage_model.1.transformer.", T5)}


def unet(channels: int = 4, *, middle: bool = True) -> Shapes:
    attention: Shapes = {"middle_block.1.norm.weight": (1280,)} if middle else {}
    return {"input_blocks.0.0.weight": (320, channels, 3, 3), "output_blocks.7.1.norm.weight": (640,), **attention}


def sd3(blocks: int, *, twice: bool = False) -> Shapes:
    names = {f"joint_blocks.{index}.x_block.attn.proj.weight": (64 * blocks, 64 * blocks) for index in range(blocks)}
    return {**names, **({"joint_blocks.0.x_block.attn2.qkv.weight": (4608, 1536)} if twice else {})}


def flux(channels: int = 64, *, guidance: bool = True, doubles: int = 19) -> Shapes:
    names = {f"double_blocks.{index}.txt_attn.proj.weight": (3072, 3072) for index in range(doubles)}
    embedding: Shapes = {"guidance_in.in_layer.weight": (3072, 256)} if guidance else {}
    return {"img_in.weight": (3072, channels), **names, **embedding}


def flux2(singles: int) -> Shapes:
    names = {f"single_blocks.{index}.linear1.weight": (9, 9) for index in range(singles)}
    return {
        "double_stream_modulation_img.lin.weight": (9, 9),
        "img_in.weight": (6144, 128),
        **names,
        "double_blocks.0.a": (1,),
    }


def wan(layers: int, width: int, channels: int, **more: tuple[int, ...]) -> Shapes:
    names = {f"blocks.{index}.cross_attn.norm_k.weight": (width,) for index in range(layers)}
    return {"patch_embedding.weight": (width, channels, 1, 2, 2), **names, **more}


OLD = Defaults(20, 9.0, None, "euler_a", 512, 512)
XL = Defaults(25, 5.0, None, "euler", 1024, 1024)
SD3 = Defaults(20, 4.5, None, "euler", 1024, 1024)
DEV = Defaults(20, 1.0, 3.5, "euler", 1024, 1024)

# The models that GPUStack's document lists, as its all-in-one files name their tensors. Variants that were only trained
# further (v1-4 and v1-5, the turbo ones, FLUX.1-lite with fewer blocks) have their base's tensors, and so its values.
GPUSTACK: Mapping[str, tuple[Shapes, str, Defaults]] = {
    "stable-diffusion-v1-4": ({**prefixed(P, unet()), **CLIP_L, **VAE}, "sd1", OLD),
    "stable-diffusion-v1-5": ({**prefixed(P, unet()), **CLIP_L, **VAE}, "sd1", OLD),
    "stable-diffusion-inpainting": (
        {**prefixed(P, unet(9)), **CLIP_L, **VAE}, "sd1-inpaint", Defaults(50, 9.0, None, "euler_a", 512, 512),
    ),
    "stable-diffusion-v2-1": ({**prefixed(P, unet()), **SD2_CLIP_BOX, **VAE}, "sd2", OLD),
    "stable-diffusion-v2-1-turbo": ({**prefixed(P, unet()), **SD2_CLIP_BOX, **VAE}, "sd2", OLD),
    "stable-diffusion-2-inpainting": (
        {**prefixed(P, unet(9)), **SD2_CLIP_BOX, **VAE}, "sd2-inpaint", Defaults(50, 9.0, None, "euler_a", 512, 512),
    ),
    "stable-diffusion-xl-base-1.0": ({**prefixed(P, unet()), **XL_CLIPS_BOX, **VAE}, "sdxl", XL),
    "sdxl-turbo": ({**prefixed(P, unet()), **XL_CLIPS_BOX, **VAE}, "sdxl", XL),
    "stable-diffusion-xl-inpainting": (
        {**prefixed(P, unet(9)), **XL_CLIPS_BOX, **VAE}, "sdxl-inpaint", Defaults(50, 5.0),
    ),
    "stable-diffusion-v3-medium": ({**prefixed(P, sd3(24)), **SD3_ENCODERS_BOX, **VAE}, "sd3-medium", SD3),
    "stable-diffusion-v3-5-medium": (
        {**prefixed(P, sd3(24, twice=True)), **SD3_ENCODERS_BOX, **VAE}, "sd3.5-medium", SD3,
    ),
    "stable-diffusion-v3-5-large": ({**prefixed(P, sd3(38)), **SD3_ENCODERS_BOX, **VAE}, "sd3.5-large", SD3),
    "stable-diffusion-v3-5-large-turbo": ({**prefixed(P, sd3(38)), **SD3_ENCODERS_BOX, **VAE}, "sd3.5-large", SD3),
    "FLUX.1-dev": ({**prefixed(P, flux()), **FLUX_ENCODERS_BOX, **VAE}, "flux-dev", DEV),
    "FLUX.1-lite": ({**prefixed(P, flux(doubles=8)), **FLUX_ENCODERS_BOX, **VAE}, "flux-dev", DEV),
    "FLUX.1-mini": ({**prefixed(P, flux(doubles=5)), **FLUX_ENCODERS_BOX, **VAE}, "flux-dev", DEV),
    "FLUX.1-schnell": (
        {**prefixed(P, flux(guidance=False)), **FLUX_ENCODERS_BOX, **VAE}, "flux-schnell", Defaults(4, 1.0),
    ),
    "FLUX.1-Fill-dev": (
        {**prefixed(P, flux(384)), **FLUX_ENCODERS_BOX, **VAE}, "flux-fill", Defaults(50, 1.0, 30.0),
    ),
}  # fmt: skip

OTHERS: Mapping[str, tuple[Shapes, str]] = {
    "original SD 2": ({**prefixed(P, unet()), **SD2_CLIP}, "sd2"),
    "original SDXL": ({**prefixed(P, unet()), **XL_CLIPS}, "sdxl"),
    "InstructPix2Pix": ({**prefixed(P, unet(8)), **CLIP_L}, "sd1-pix2pix"),
    "SDXL InstructPix2Pix": ({**prefixed(P, unet(8)), **XL_CLIPS}, "sdxl-pix2pix"),
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
        "sdxs",
    ),
    "SD 3 without prefix": (sd3(24), "sd3-medium"),
    "FLUX without prefix": (flux(), "flux-dev"),
    "FLUX Depth or Canny": (flux(128), "flux-controls"),
    "Flex.2": (flux(196), "flex.2"),
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
    "Wan 2.2 I2V": (wan(40, 5120, 36), "wan2.2-i2v"),
    "Wan 2.2 TI2V": (wan(30, 3072, 48), "wan2.2-ti2v"),
}


@pytest.mark.parametrize("model", GPUSTACK)
def test_the_models_that_gpustack_lists(model: str) -> None:
    shapes, name, defaults = GPUSTACK[model]

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
    return [*single, *(family for table in tables for family in table.values())]


def test_each_family_can_be_told_and_has_values_that_exist() -> None:
    told = {name for _, name, _ in GPUSTACK.values()} | {name for _, name in OTHERS.values()}
    drawn = {sampler.name for sampler in SAMPLERS if sampler.sdcpp}

    assert {family.name for family in every_family()} == told
    assert {family.defaults.sampler for family in every_family()} <= drawn
    assert {family.name for family in every_family() if family.inpaints} == {
        "sd1-inpaint", "sd2-inpaint", "sdxl-inpaint", "flux-fill", "flex.2",
    }  # fmt: skip
    assert {family.name for family in every_family() if family.draws_video} == {
        "wan-t2v", "wan-i2v", "wan2.2-i2v", "wan2.2-ti2v",
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
        (SVD, "Stable Video Diffusion"),
        (wan(12, 1536, 16), "12 layers"),
    ],
    ids=["nothing", "CLIP", "T5", "Sana", "diffusers", "ControlNet", "bare U-Net", "refiner", "SVD", "small Wan"],
)
def test_what_stable_diffusion_cpp_does_not_run_is_refused(shapes: Shapes, said: str) -> None:
    with pytest.raises(LoadError) as caught:
        find_family([header_of(shapes)], field="options: diffusion_model_path")

    assert caught.value.reason == "UnknownFormat"
    assert caught.value.message.startswith("options: diffusion_model_path: ")
    assert said in caught.value.message


def test_a_main_file_goes_before_the_others() -> None:
    assert find_family([header_of(flux(384)), header_of(flux(64))]).name == "flux-fill"


@pytest.mark.parametrize(
    ("shapes", "alone"),
    [(flux(), True), (prefixed(P, flux()), False), ({**prefixed(P, unet()), **CLIP_L}, False), (FLUX_VAE, False)],
)
def test_a_diffusion_model_alone_is_told_from_a_checkpoint(shapes: Shapes, alone: bool) -> None:
    assert holds_diffusion_alone(header_of(shapes)) is alone


@pytest.mark.parametrize(
    ("family", "files", "missing"),
    [
        (known.SD1, [{**prefixed(P, unet()), **CLIP_L, **VAE}], ()),
        (known.SD2, [{**prefixed(P, unet()), **SD2_CLIP, **VAE}], ()),
        (known.SDXL, [{**prefixed(P, unet()), **XL_CLIPS, **VAE}], ()),
        (known.SDXL, [{**prefixed(P, unet()), **XL_CLIPS_BOX}], ("vae",)),
        (known.SDXL, [{**prefixed(P, unet()), **XL_CLIPS}, FLUX_VAE], ()),
        (known.SD3_MEDIUM, [{**prefixed(P, sd3(24)), **SD3_ENCODERS, **VAE}], ()),
        (known.SD3_MEDIUM, [{**prefixed(P, sd3(24)), **VAE}], ("clip_l", "clip_g", "t5xxl")),
        (known.SD3_MEDIUM, [{**prefixed(P, sd3(24)), **VAE}, clip(1280)], ()),
        (known.FLUX_DEV, [flux()], ("clip_l", "t5xxl", "vae")),
        (known.FLUX_DEV, [flux(), clip(768)], ("vae",)),
        (known.FLUX_DEV, [flux(), T5_GGUF, TAE], ()),
        (known.FLUX_DEV, [flux(), clip(768), T5, FLUX_VAE], ()),
        (known.FLUX_DEV, [{**prefixed(P, flux()), **FLUX_ENCODERS, **VAE}], ()),
        (known.CHROMA, [flux(), clip(768), FLUX_VAE], ("t5xxl",)),
        (known.CHROMA_RADIANCE, [flux(), T5], ()),
        (known.FLUX2, [flux2(48), FLUX_VAE], ("llm",)),
        (known.FLUX2, [flux2(48), LLM, FLUX_VAE], ()),
        (known.QWEN_IMAGE, [{}, LLM_GGUF, WAN_VAE], ()),
        (known.WAN_I2V, [{}, T5, WAN_VAE], ("clip_vision",)),
        (known.WAN_I2V, [{}, T5, WAN_VAE, {"vision_model.embeddings.class_embedding": (1280,)}], ()),
    ],
)
def test_parts_that_no_file_brings(family: Family, files: list[Shapes], missing: tuple[str, ...]) -> None:
    assert missing_parts(family, [header_of(shapes) for shapes in files]) == missing


def test_parts_that_a_model_could_do_without() -> None:
    headers = [header_of(flux()), header_of(clip(768)), header_of(FLUX_VAE)]

    assert missing_parts(known.FLUX_DEV, headers) == ()
    assert absent_parts(known.FLUX_DEV, headers) == ("t5xxl",)


def test_a_file_of_another_part_is_told() -> None:
    assert parts_of(header_of(T5_GGUF), known.FLUX_DEV) == {"t5xxl"}
    assert parts_of(header_of(clip(1280)), known.FLUX_DEV) == {"clip_g"}


def test_a_missing_text_encoder_is_refused_with_the_options_to_add() -> None:
    with pytest.raises(LoadError) as caught:
        check_parts(known.FLUX_DEV, [header_of(flux()), header_of(FLUX_VAE)])

    assert caught.value.reason == "WeightsMissing"
    assert caught.value.message == (
        "options: FLUX.1-dev needs clip_l, t5xxl, which no file brings; name files in clip_l_path, t5xxl_path"
    )
    check_parts(known.FLUX_DEV, [header_of(flux()), header_of(FLUX_VAE), header_of(T5)])


def test_text_encoders_under_the_names_of_llama_box_are_refused_by_name() -> None:
    shapes, _, _ = GPUSTACK["FLUX.1-dev"]

    with pytest.raises(LoadError) as caught:
        check_parts(known.FLUX_DEV, [header_of(shapes)])

    assert "not 'cond_stage_model.transformer.text_model.embeddings.token_embedding.weight'" in caught.value.message
    assert "clip_l_path, t5xxl_path" in caught.value.message
    check_parts(known.FLUX_DEV, [header_of(shapes), header_of(clip(768)), header_of(T5)])
