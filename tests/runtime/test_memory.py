"""What pictures take of a device's memory: estimates beside what was published and what is really allocated."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from heliograph_runtime.engines import container
from heliograph_runtime.engines.diffusers import memory
from heliograph_runtime.engines.diffusers.files import find_model
from heliograph_runtime.engines.diffusers.memory import (
    Budget,
    Footprint,
    check_fits,
    count_weights,
    free_bytes,
    read_footprint,
)
from heliograph_runtime.engines.diffusers.placement import modules_of
from heliograph_runtime.engines.protocol import LoadError, Sampling
from runtime import miniatures
from runtime.live_bytes import LiveBytes
from runtime.loaded import load, load_tiny
from runtime.runtimes import EXAMPLES

GIB = 1 << 30
MEGAPIXEL = 1024 * 1024
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
SDXL_UNET = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": (5, 10, 20),
}


@pytest.fixture(scope="module")
def tiny() -> Any:
    return load_tiny()


def new(class_name: str, **arguments: Any) -> Any:
    return getattr(diffusers, class_name)(**arguments)


def without_data(class_name: str, dtype: torch.dtype, **config: Any) -> Any:
    with torch.device("meta"):
        return new(class_name, **config).to(dtype)


def sd15() -> Any:
    unet = without_data("UNet2DConditionModel", torch.bfloat16, cross_attention_dim=768)
    return new(
        "StableDiffusionPipeline",
        vae=without_data("AutoencoderKL", torch.bfloat16, **VAE),
        unet=unet,
        text_encoder=None,
        tokenizer=None,
        scheduler=new("EulerDiscreteScheduler", steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl() -> Any:
    return new(
        "StableDiffusionXLPipeline",
        vae=without_data("AutoencoderKL", torch.float16, **VAE, force_upcast=True),
        unet=without_data("UNet2DConditionModel", torch.float16, **SDXL_UNET),
        text_encoder=None,
        text_encoder_2=None,
        tokenizer=None,
        tokenizer_2=None,
        scheduler=new("EulerDiscreteScheduler"),
    )


def flux() -> Any:
    return new(
        "FluxPipeline",
        vae=without_data("AutoencoderKL", torch.bfloat16, **VAE, latent_channels=16),
        transformer=without_data("FluxTransformer2DModel", torch.bfloat16, num_layers=1, num_single_layers=1),
        text_encoder=None,
        text_encoder_2=None,
        tokenizer=None,
        tokenizer_2=None,
        scheduler=new("FlowMatchEulerDiscreteScheduler"),
    )


def wan() -> Any:
    return new(
        "WanPipeline",
        vae=without_data("AutoencoderKLWan", torch.bfloat16),
        transformer=without_data(
            "WanTransformer3DModel", torch.bfloat16, num_layers=1, num_attention_heads=12, ffn_dim=8960
        ),
        text_encoder=None,
        tokenizer=None,
        scheduler=new("FlowMatchEulerDiscreteScheduler"),
    )


# Peaks that were simulated with the whole models, in GiB: of a step, with guidance where the family has it in the same
# batch, and of the decoder, in float32 for SDXL.
@pytest.mark.filterwarnings("ignore:.*`text_encoder`:UserWarning")
@pytest.mark.parametrize(
    ("make", "pixels", "frames", "step", "decoder"),
    [
        (sd15, 512 * 512, 1, 0.13, 0.38),
        (sd15, MEGAPIXEL, 1, 0.51, 1.50),
        (sdxl, MEGAPIXEL, 1, 0.31, 3.00),
        (flux, MEGAPIXEL, 1, 0.48 * 2, 1.50),
        (flux, 4 * MEGAPIXEL, 1, 1.76 * 2, 6.00),
        (wan, 832 * 480, 81, 1.49 * 2, 3.80),
    ],
)
def test_footprints_are_near_what_real_models_take(
    make: Callable[[], Any], pixels: int, frames: int, step: float, decoder: float
) -> None:
    footprint = read_footprint(make())

    assert footprint is not None
    assert 0.85 <= footprint.denoising_bytes(pixels, frames=frames) / GIB / step <= 2
    assert 0.95 <= footprint.decode * pixels / GIB / decoder <= 1.5


@pytest.mark.parametrize("size", [128, 384])
def test_footprints_cover_what_the_tiny_model_allocates(tiny: Any, size: int) -> None:
    latents = torch.randn(2, 4, size // 8, size // 8)
    footprint = read_footprint(tiny)
    assert footprint is not None

    with torch.no_grad(), LiveBytes() as step:
        tiny.unet(latents, torch.tensor(1), torch.randn(2, 77, 96))
    with torch.no_grad(), LiveBytes() as decoder:
        tiny.vae.decode(latents[:1])

    assert step.peak <= footprint.denoising_bytes(size * size) <= 2 * step.peak
    assert decoder.peak <= footprint.decode * size * size <= 2 * decoder.peak
    assert footprint.peak_bytes(size * size) == int(footprint.decode * size * size)


def test_a_denoiser_of_unknown_width_has_no_footprint(tiny: Any) -> None:
    class Other:
        transformer = tiny.vae

    assert read_footprint(Other()) is None


EACH = Footprint(denoise=100.0, decode=1000.0, frames_together=4, tiles=True)


def free(monkeypatch: pytest.MonkeyPatch, available: int | None) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda _device: available)


@pytest.mark.parametrize(
    ("budget", "available", "frames", "pixels"),
    [
        (Budget("cuda", EACH), 136_000_000, 1, 750_000),
        (Budget("cuda", EACH, arriving=68_000_000), 136_000_000, 1, 375_000),
        (Budget("cuda", EACH, arriving=1 << 40), 136_000_000, 1, 1),
        (Budget("cuda", EACH), 976_000_000, 16, 750_000),
        (Budget("cuda", Footprint(100.0, 1000.0, 1, tiles=False)), 136_000_000, 1, 102_000),
        (Budget("cuda", EACH), None, 1, None),
        (Budget("cuda", None), 136_000_000, 1, None),
    ],
)
def test_the_largest_picture_follows_from_what_is_free(
    monkeypatch: pytest.MonkeyPatch, budget: Budget, available: int | None, frames: int, pixels: int | None
) -> None:
    free(monkeypatch, available)

    assert budget.max_pixels(frames=frames, least=1) == pixels


@pytest.mark.parametrize(
    ("available", "sampling", "wanted", "expected"),
    [
        (8 * 136_000_000, Sampling("text", 1000, 1000), 4, 4),
        (3 * 136_000_000, Sampling("text", 1000, 1000), 4, 2),
        (1000, Sampling("text", 1000, 1000), 4, 1),
        (3 * 136_000_000, Sampling("text", 1000, 1000, frames=16), 4, 1),
        (3 * 136_000_000, Sampling("text", 500, 500), 4, 4),
        (None, Sampling("text", 1000, 1000), 9, 9),
    ],
)
def test_the_largest_batch_follows_from_what_is_free(
    monkeypatch: pytest.MonkeyPatch, available: int | None, sampling: Sampling, wanted: int, expected: int
) -> None:
    free(monkeypatch, available)

    assert Budget("cuda", EACH).at_once(sampling, wanted) == expected


@pytest.mark.parametrize(
    ("available", "side", "low_vram", "tiled"),
    [
        (10**12, 1024, False, False),
        (10**12, 2048, False, False),
        (10**12, 2056, False, True),
        (10**9, 1024, False, True),
        (10**12, 64, True, True),
        (None, 2048, False, False),
    ],
)
def test_the_vae_works_in_tiles_where_one_piece_would_be_too_large(
    monkeypatch: pytest.MonkeyPatch, available: int | None, side: int, low_vram: bool, tiled: bool
) -> None:
    free(monkeypatch, available)

    assert Budget("cuda", EACH, low_vram=low_vram).tiled(Sampling("text", side, side)) is tiled


@pytest.mark.parametrize(
    ("available", "sampling", "pictures", "one_by_one"),
    [
        (10**12, Sampling("text", 128, 128), 16, False),
        (10**12, Sampling("text", 128, 128), 17, True),
        (10**12, Sampling("text", 1024, 1024), 2, True),
        (10**12, Sampling("text", 128, 128, frames=8), 2, True),
        (10**6, Sampling("text", 128, 128), 2, True),
        (None, Sampling("text", 128, 128), 2, False),
    ],
)
def test_small_pictures_are_decoded_together(
    monkeypatch: pytest.MonkeyPatch, available: int | None, sampling: Sampling, pictures: int, one_by_one: bool
) -> None:
    free(monkeypatch, available)

    assert Budget("cuda", EACH).one_by_one(sampling, pictures) is one_by_one
    assert Budget("cuda", EACH, low_vram=True).one_by_one(sampling, pictures)


def test_what_is_free_on_a_cpu_is_what_the_container_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "available_memory", lambda: 123)

    assert free_bytes("cpu") == 123


def test_what_is_free_on_a_gpu_includes_what_is_kept_for_reuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "get_memory_info", lambda: (1000, 5000))
    monkeypatch.setattr(torch.accelerator, "memory_reserved", lambda: 300)
    monkeypatch.setattr(torch.accelerator, "memory_allocated", lambda: 200)

    assert free_bytes("cuda") == 1100


def test_weights_are_counted_by_their_headers(tmp_path: Path, tiny: Any) -> None:
    shutil.copytree(EXAMPLES / "tiny-model/model", tmp_path / "tiny")
    numbers = sum(weight.numel() for part in modules_of(tiny).values() for weight in part.parameters())

    assert count_weights(find_model("tiny", models_dir=tmp_path)) == numbers

    for part in ("unet", "vae"):
        file = tmp_path / "tiny" / part / "diffusion_pytorch_model.safetensors"
        shutil.copy(file, file.with_name("diffusion_pytorch_model.fp16.safetensors"))
        shutil.copy(file, file.with_name("diffusion_pytorch_model.non_ema.safetensors"))
    assert count_weights(find_model("tiny", models_dir=tmp_path)) == numbers

    for part in ("unet", "vae"):
        (tmp_path / "tiny" / part / "diffusion_pytorch_model.safetensors").unlink()
    assert count_weights(find_model("tiny", models_dir=tmp_path)) == numbers


def test_shards_are_counted_together(tmp_path: Path) -> None:
    miniatures.save_flux(tmp_path / "flux")
    pipeline = load("FluxPipeline", tmp_path / "flux")
    whole = count_weights(find_model("flux", models_dir=tmp_path))
    shutil.rmtree(tmp_path / "flux/transformer")
    pipeline.transformer.save_pretrained(tmp_path / "flux/transformer", max_shard_size="100KB")

    assert len([*(tmp_path / "flux/transformer").glob("*.safetensors")]) > 1
    assert count_weights(find_model("flux", models_dir=tmp_path)) == whole


def test_weights_that_a_cpu_can_never_hold_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    files = find_model("tiny-model/model", models_dir=EXAMPLES)
    needed = count_weights(files) * 4

    monkeypatch.setattr(container, "memory_limit", lambda: needed)
    check_fits(files, device="cpu", dtype=torch.float32)
    monkeypatch.setattr(container, "memory_limit", lambda: needed - 1)
    check_fits(files, device="cpu", dtype=torch.bfloat16)
    check_fits(files, device="cuda", dtype=torch.float32)
    with pytest.raises(LoadError, match=r"parameters\.model: its weights take 0\.0 GiB as float32"):
        check_fits(files, device="cpu", dtype=torch.float32)
