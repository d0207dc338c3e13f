"""Memory told from headers: exact for weights, and as stable-diffusion.cpp logs it for intermediate results."""

import math

import pytest

from heliograph_runtime.engines.sdcpp import known
from heliograph_runtime.engines.sdcpp.compute import decoding_bytes, denoising_bytes, text_encoding_bytes
from heliograph_runtime.engines.sdcpp.estimate import Estimate, estimate
from heliograph_runtime.engines.sdcpp.files import ALL_IN_ONE
from heliograph_runtime.engines.sdcpp.known import Family
from heliograph_runtime.engines.sdcpp.loaded import loaded_bytes, loaded_type
from heliograph_runtime.engines.sdcpp.tensors import BLOCKS, Header, TensorInfo
from runtime.sdcpp_files import Shapes, header_of

MIB = 1 << 20
P = "model.diffusion_model."
UNET: Shapes = {"input_blocks.0.0.weight": (320, 4, 3, 3)}
SD1: Shapes = {**UNET, "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 768)}
SD2: Shapes = {**UNET, "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 1024)}
SDXL: Shapes = {**UNET, "input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (640, 2048)}
VAE: Shapes = {"first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3)}


def info(shape: tuple[int, ...], kind: str) -> TensorInfo:
    block, size = BLOCKS[kind]
    return TensorInfo(shape, kind, math.prod(shape) // block * size)


def transformer(hidden: int) -> Shapes:
    return {"modulation.weight": (6 * hidden, hidden), "x.weight": (64, hidden)}


@pytest.mark.parametrize(
    ("name", "shape", "stored", "wtype", "loaded"),
    [
        ("blocks.0.linear.weight", (64, 256), "q4_0", None, "q4_0"),
        ("blocks.0.linear.weight", (64, 256), "bf16", None, "bf16"),
        ("blocks.0.linear.weight", (64, 256), "f8_e4m3", None, "f16"),
        ("blocks.0.linear.weight", (64, 256), "f64", None, "f32"),
        ("blocks.0.linear.weight", (64, 256), "f16", "q4_k", "q4_k"),
        ("blocks.0.linear.weight", (64, 200), "f16", "q4_k", "f16"),
        ("blocks.0.linear.bias", (64,), "f16", "q4_k", "f32"),
        ("blocks.0.norm.weight", (64,), "bf16", None, "f32"),
        ("img_in.weight", (64, 256), "f16", "q4_k", "f16"),
        ("time_embed.0.weight", (64, 256), "f32", "f16", "f32"),
        ("convolution.weight", (64, 32, 3, 3), "f32", None, "f16"),
        ("convolution.weight", (64, 32, 3, 3, 3), "bf16", "q8_0", "f16"),
        ("pos_embed", (1, 100, 64), "f16", None, "f32"),
        ("text_model.embeddings.position_embedding.weight", (77, 768), "f16", None, "f32"),
        ("text_model.embeddings.token_embedding.weight", (49408, 768), "f16", "q4_0", "f16"),
        ("text_model.embeddings.token_embedding.weight", (49408, 768), "bf16", None, "f32"),
        ("token_embd.weight", (32128, 4096), "q4_k", None, "f32"),
        ("shared.weight", (32128, 4096), "q8_0", None, "q8_0"),
        ("text_model.embeddings.position_ids", (1, 77), "i64", None, None),
        ("lm_head.weight", (64, 256), "f16", None, None),
        ("blocks.0.linear.weight.quant_state", (64,), "u8", None, None),
    ],
)
def test_what_a_tensor_becomes(
    name: str, shape: tuple[int, ...], stored: str, wtype: str | None, loaded: str | None
) -> None:
    assert loaded_type(name, info(shape, stored), wtype=wtype) == loaded
    expected = 0 if loaded is None else info(shape, loaded).bytes
    assert 0 <= loaded_bytes(name, info(shape, stored), wtype=wtype) - expected < 32


# MiB that stable-diffusion.cpp logs for its compute buffer, by the side of the picture, as gguf-parser collected them.
@pytest.mark.parametrize(
    ("family", "shapes", "flash", "logged"),
    [
        (known.SD1, SD1, False, {512: 560, 768: 2690, 1024: 8361, 1536: 41843, 2048: 131725}),
        (known.SD2, SD2, False, {512: 368}),
        (known.SD2, SD2, True, {512: 132, 768: 292, 1024: 517, 1536: 1158, 2048: 2056}),
        (known.SDXL, SDXL, False, {512: 128, 768: 333, 1024: 832, 1536: 3607, 2048: 10856}),
        (known.SDXL, SDXL, True, {512: 119, 768: 276, 1024: 494, 1536: 1119, 2048: 1995}),
        (known.SD3_MEDIUM, transformer(1536), False, {512: 170, 768: 634, 1024: 1786, 1536: 8320, 2048: 25531}),
        (known.SD35_MEDIUM, transformer(1536), False, {512: 183, 768: 661, 1024: 1835, 1536: 8428, 2048: 25724}),
        (known.SD35_LARGE, transformer(2432), False, {512: 277, 768: 1023, 1024: 2865, 1536: 13259, 2048: 40580}),
        (known.FLUX_DEV, transformer(3072), False, {512: 389, 768: 1089, 1024: 2570, 1536: 10026, 2048: 28486}),
    ],
)
def test_the_compute_buffer_that_is_logged(family: Family, shapes: Shapes, flash: bool, logged: dict[int, int]) -> None:
    tensors = header_of(shapes).tensors

    for side, mib in logged.items():
        told = denoising_bytes(family, tensors, width=side, height=side, flash_attention=flash)
        assert told / MIB == pytest.approx(mib, rel=0.1)


def test_more_is_taken_for_frames() -> None:
    tensors = header_of(transformer(3072)).tensors
    clip = denoising_bytes(known.WAN_T2V, tensors, width=832, height=480, frames=33, flash_attention=True)
    frame = denoising_bytes(known.WAN_T2V, tensors, width=832, height=480, flash_attention=True)

    assert 6 < clip / frame < 9


def test_decoding() -> None:
    tensors = header_of(VAE).tensors
    # gguf-parser: 13 bytes for each pixel and channel of the decoder's first convolution.
    assert decoding_bytes(tensors, width=1024, height=1024) == 1024 * 1024 * 13 * 512
    assert decoding_bytes(tensors, width=1024, height=1024, tile=(256, 128)) == 256 * 128 * 13 * 512
    assert decoding_bytes(tensors, width=128, height=128, tile=(256, 256)) == 128 * 128 * 13 * 512
    small = header_of({"decoder.layers.0.weight": (64, 16, 3, 3)}).tensors
    assert decoding_bytes(small, width=1024, height=1024) == 1024 * 1024 * 13 * 128
    assert decoding_bytes(small, width=1024, height=1024, frames=5) == 5 * 1024 * 1024 * 13 * 128
    wan = header_of({"decoder.conv1.weight": (384, 16, 3, 3, 3), "decoder.a.conv1.weight": (9, 9, 3, 3)}).tensors
    assert decoding_bytes(wan, width=832, height=480) < decoding_bytes(wan, width=832, height=480, frames=33)


def flux_parts(**more: Header) -> dict[str, Header]:
    main = header_of({"double_blocks.0.weight": (21504, 3072), "double_blocks.0.bias": (3072,)}, kind="q8_0")
    clip = header_of({"text_model.encoder.weight": (768, 768)})
    vae = header_of({"decoder.conv_in.weight": (512, 16, 3, 3), "encoder.conv_in.weight": (128, 3, 3, 3)}, kind="f32")
    return {ALL_IN_ONE: main, "clip_l_path": clip, "vae_path": vae, **more}


def told(parts: dict[str, Header], family: Family = known.FLUX_DEV, **options: int | str) -> Estimate:
    return estimate(parts, family, width=512, height=512, **options)  # type: ignore[arg-type]


DIFFUSION = 21504 * 3072 // 32 * 34 + 3072 * 4
CLIP = 768 * 768 * 2
DECODER = 512 * 16 * 9 * 2
ENCODER = 128 * 3 * 9 * 2


def test_weights_by_component() -> None:
    found = told(flux_parts())

    assert found.weights == {"diffusion": DIFFUSION, "text_encoders": CLIP, "vae": DECODER + ENCODER}
    assert told(flux_parts(), wtype="f16").weights["diffusion"] == 21504 * 3072 * 2 + 3072 * 4


def test_a_vae_that_another_replaces_is_left_out() -> None:
    tae = header_of({"decoder.layers.0.weight": (64, 16, 3, 3)})
    alone = told(flux_parts(taesd_path=tae))

    assert alone.weights["vae"] == 64 * 16 * 9 * 2
    assert alone.decoding < told(flux_parts()).decoding
    main = header_of({f"{P}double_blocks.0.weight": (21504, 3072), **VAE})
    assert told({**flux_parts(), ALL_IN_ONE: main}).weights["vae"] == DECODER + ENCODER


def test_a_checkpoint_in_one_file() -> None:
    encoders: Shapes = {"cond_stage_model.transformer.text_model.encoder.weight": (768, 768)}
    main = header_of({**{P + name: shape for name, shape in SD1.items()}, **encoders, **VAE, "betas": (1000,)})

    found = told({ALL_IN_ONE: main}, known.SD1)

    assert found.weights == {
        "diffusion": 320 * 4 * 9 * 2 + 320 * 768 * 2,
        "text_encoders": 768 * 768 * 2,
        "vae": 512 * 4 * 9 * 2,
    }


def test_a_control_net_and_a_second_diffusion_model_count() -> None:
    control = header_of({"control_model.input_blocks.0.0.weight": (320, 4, 3, 3)})
    high = header_of({"blocks.0.ffn.weight": (13824, 5120)})
    parts = {ALL_IN_ONE: high, "high_noise_diffusion_model_path": high, "control_net_path": control}

    found = told(parts, known.WAN_2_2_I2V)

    assert found.weights == {"diffusion": 2 * 13824 * 5120 * 2, "control_net": 320 * 4 * 9 * 2}


@pytest.mark.parametrize("wtype", [None, "q4_0"])
def test_matrices_of_a_control_net_become_floats_whatever_others_become(wtype: str | None) -> None:
    control = header_of({"input_blocks.1.1.transformer_blocks.0.attn1.to_k.weight": (320, 320)})

    assert estimate({"control_net_path": control}, known.SD1, width=64, height=64, wtype=wtype).weights == {
        "control_net": 320 * 320 * 4
    }


def test_t5_takes_more_to_encode_than_clip() -> None:
    clip = {"text_model.embeddings.token_embedding.weight": info((49408, 1280), "f16")}
    t5 = {"shared.weight": info((32128, 4096), "f16")}

    assert text_encoding_bytes(clip) < 4 * MIB
    assert text_encoding_bytes(clip | t5) == 64 * MIB
    assert text_encoding_bytes({}) == 0


def test_main_memory() -> None:
    found = told(flux_parts())
    process = 150 * MIB
    weights = DIFFUSION + CLIP + DECODER + ENCODER

    assert found.decoding > found.denoising > found.text_encoding > 0
    assert found.ram_bytes == process + weights + found.decoding + found.pictures


def test_each_thread_that_loads_has_a_buffer_to_convert_in() -> None:
    shapes: Shapes = {"decoder.conv_in.weight": (512, 16, 3, 3), "a.bias": (512,), "b.bias": (128,)}
    parts = flux_parts(vae_path=header_of(shapes, kind="bf16"))
    # What becomes f16 is f32 in between; biases become f32 at once.
    largest, others = 512 * 16 * 9 * (2 + 4), (512 * 2, 128 * 2)

    buffers = {count: told(parts, threads=count).loading for count in (1, 2, 64)}

    assert buffers == {1: largest, 2: largest + others[0], 64: largest + sum(others)}
    # Threads end with their file: buffers of the diffusion model and of the VAE are not there at once.
    assert told(flux_parts(), wtype="f16", threads=2).loading == 21504 * 3072 * (34 / 32 + 4) + 3072 * 34 / 32


def test_eight_bits_are_read_as_sixteen() -> None:
    parts = {ALL_IN_ONE: header_of({"double_blocks.0.weight": (21504, 3072)}, kind="f8_e4m3")}

    assert told(parts).loading == 0
    assert told(parts, wtype="q4_0").loading == 21504 * 3072 * (2 + 4)
    assert told(parts, wtype="f32").loading == 21504 * 3072 * 2


def test_what_is_converted_takes_more_than_drawing_a_small_picture() -> None:
    found = estimate(flux_parts(), known.FLUX_DEV, width=64, height=64, wtype="f16")

    assert found.loading > found.drawing_bytes
    assert found.ram_bytes == 150 * MIB + sum(found.weights.values()) + found.loading
