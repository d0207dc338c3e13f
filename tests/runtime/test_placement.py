"""Devices, number types and offloading: the decisions on any machine, and what a CPU can do of the acts for real."""

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from heliograph_api.spec import parse_spec
from heliograph_runtime.engines.diffusers.placement import (
    Strategy,
    choose_device,
    choose_dtype,
    choose_strategy,
    count_bytes,
    device_memory,
    modules_of,
    place,
    set_decoding,
    spread_arguments,
)
from heliograph_runtime.engines.diffusers.sharing import share
from heliograph_runtime.engines.protocol import DeviceMemory, LoadError
from runtime import miniatures
from runtime.loaded import difference, draw, load, load_tiny
from runtime.runtimes import TINY

UNET = ("text_encoder", "unet", "vae")
TRANSFORMER = ("text_encoder", "text_encoder_2", "transformer", "vae")


@pytest.mark.parametrize(
    ("spec", "available", "device"),
    [
        ({}, set(), "cpu"),
        ({}, {"cuda", "xpu"}, "cpu"),
        ({"cuda": True}, {"cuda"}, "cuda"),
        ({"diffusers": {"cuda": True}}, {"cuda", "xpu"}, "cuda"),
        ({"cuda": True}, {"xpu"}, "xpu"),
        ({"cuda": True}, set(), "cpu"),
        ({}, {"mps"}, "mps"),
        ({"cuda": True}, {"mps"}, "mps"),
    ],
)
def test_the_device_is_what_the_spec_asks_for_and_the_machine_has(
    monkeypatch: pytest.MonkeyPatch, spec: dict[str, Any], available: set[str], device: str
) -> None:
    for name, module in (("cuda", torch.cuda), ("xpu", torch.xpu), ("mps", torch.backends.mps)):
        monkeypatch.setattr(module, "is_available", lambda found=name in available: found)

    assert choose_device(parse_spec(TINY | spec)) == device


@pytest.mark.parametrize(
    ("spec", "parts", "device", "dtype"),
    [
        ({}, UNET, "cpu", torch.float32),
        ({"f16": True}, UNET, "cpu", torch.float32),
        ({"f16": True}, TRANSFORMER, "cpu", torch.float32),
        ({}, UNET, "cuda", torch.float32),
        ({"f16": True}, UNET, "cuda", torch.float16),
        ({"f16": True}, UNET, "mps", torch.float16),
        ({"f16": True}, TRANSFORMER, "cuda", torch.bfloat16),
        ({}, TRANSFORMER, "cuda", torch.bfloat16),
        ({}, TRANSFORMER, "xpu", torch.bfloat16),
        ({"options": ["torch_dtype:bf16"]}, UNET, "cpu", torch.bfloat16),
        ({"options": ["torch_dtype: fp32"]}, TRANSFORMER, "cuda", torch.float32),
        ({"options": ["torch_dtype:float16"]}, TRANSFORMER, "cuda", torch.float16),
    ],
)
def test_the_number_type_is_one_that_the_family_and_the_device_can_do(
    spec: dict[str, Any], parts: tuple[str, ...], device: str, dtype: torch.dtype
) -> None:
    assert choose_dtype(parse_spec(TINY | spec), parts=parts, device=device) == dtype


def test_an_unknown_number_type_is_refused() -> None:
    with pytest.raises(LoadError, match="options: torch_dtype must be one of fp16"):
        choose_dtype(parse_spec(TINY | {"options": ["torch_dtype:int8"]}), parts=UNET, device="cpu")


def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    monkeypatch.setattr(torch.accelerator, "get_memory_info", lambda index: (1000 + index, 9999))


def test_the_memory_of_all_gpus_is_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    two_gpus(monkeypatch)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")
    total = 2 * 9999

    assert device_memory("cuda") == DeviceMemory("GPU 0", 2, used=total - 1000 - 1001, total=total)
    assert device_memory("cpu") is None
    assert device_memory("mps") is None


def test_a_gpu_that_tells_nothing_costs_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(index: int) -> tuple[int, int]:
        raise RuntimeError(f"CUDA error on device {index}: unspecified launch failure")

    two_gpus(monkeypatch)
    monkeypatch.setattr(torch.accelerator, "get_memory_info", lost)
    assert device_memory("cuda") is None


def test_a_model_is_spread_over_as_many_gpus_as_the_spec_names(monkeypatch: pytest.MonkeyPatch) -> None:
    two_gpus(monkeypatch)

    def arguments(gpus: int | None) -> dict[str, Any]:
        spec = parse_spec(TINY | {"tensor_parallel_size": gpus})
        return spread_arguments(spec, device="cuda", single_file=False)

    assert arguments(2) == {"device_map": "balanced", "max_memory": {0: 1000, 1: 1001}}
    assert arguments(1) == arguments(None) == {}


@pytest.mark.parametrize(
    ("gpus", "device", "single_file", "message"),
    [
        (3, "cuda", False, "tensor_parallel_size: 3 GPUs are asked for, but 2 can be used"),
        (2, "cpu", False, "tensor_parallel_size: 2 GPUs are asked for, but 0 can be used"),
        (2, "cuda", True, "tensor_parallel_size: only a model in a folder can be spread"),
    ],
)
def test_a_model_that_cannot_be_spread_is_refused(
    monkeypatch: pytest.MonkeyPatch, gpus: int, device: str, single_file: bool, message: str
) -> None:
    two_gpus(monkeypatch)
    spec = parse_spec(TINY | {"tensor_parallel_size": gpus})

    with pytest.raises(LoadError) as caught:
        spread_arguments(spec, device=device, single_file=single_file)
    assert caught.value.message.startswith(message)


FLUX = {"transformer": 24, "text_encoder_2": 9, "vae": 1}


@pytest.mark.parametrize(
    ("device", "free", "low_vram", "strategy"),
    [
        ("cuda", 80, False, "resident"),
        ("cuda", 37, False, "resident"),
        ("cuda", 36, False, "parts"),
        ("cuda", 80, True, "parts"),
        ("cuda", 27, True, "parts"),
        ("cuda", 26, True, "layers"),
        ("cuda", 12, False, "layers"),
        ("xpu", 36, False, "parts"),
        ("cuda", None, False, "resident"),
        ("cuda", None, True, "parts"),
        ("cpu", 12, True, "resident"),
        ("mps", 12, True, "resident"),
    ],
)
def test_weights_stay_on_the_device_if_they_fit(
    device: str, free: int | None, low_vram: bool, strategy: Strategy
) -> None:
    assert choose_strategy(FLUX, device=device, free=free, working=3, low_vram=low_vram) == strategy


def test_a_device_that_is_too_small_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    choose_strategy(FLUX, device="cuda", free=80, working=3, low_vram=True)
    assert not caplog.records

    choose_strategy(FLUX, device="cuda", free=12, working=3, low_vram=False)
    assert "do not fit on the device" in caplog.text


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    saved = {"FluxPipeline": miniatures.save_flux, "StableDiffusionXLPipeline": miniatures.save_sdxl}
    made = {name: tmp_path_factory.mktemp(name) for name in saved}
    for name, save in saved.items():
        save(made[name])
    return made


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("strategy", ["parts", "layers"])
@pytest.mark.parametrize("class_name", ["FluxPipeline", "StableDiffusionXLPipeline"])
def test_parts_that_come_and_go_draw_the_same(folders: dict[str, Path], class_name: str, strategy: Strategy) -> None:
    resident, moving = (load(class_name, folders[class_name]) for _ in range(2))
    place(resident, device="cpu", strategy="resident")
    place(moving, device="cpu", strategy=strategy)

    for _ in range(2):
        assert difference(draw(moving, pictures=2), draw(resident, pictures=2)) == 0


@pytest.mark.parametrize("strategy", ["parts", "layers"])
def test_pipelines_that_share_moving_parts_take_turns(strategy: Strategy) -> None:
    text = load_tiny()
    place(text, device="cpu", strategy=strategy)
    image = share(text, diffusers.StableDiffusionImg2ImgPipeline)
    before = draw(text)

    changed = image("a star", image=torch.zeros(1, 3, 64, 64), num_inference_steps=2, output_type="np").images
    assert changed.shape == (1, 64, 64, 3)
    assert difference(draw(text), before) == 0


@pytest.mark.parametrize(("one_by_one", "expected"), [(True, [1, 1, 1]), (False, [3])])
def test_a_batch_is_decoded_as_it_is_told_to(
    monkeypatch: pytest.MonkeyPatch, one_by_one: bool, expected: list[int]
) -> None:
    pipeline = load_tiny()
    place(pipeline, device="cpu", strategy="resident")
    set_decoding(pipeline, tiled=False, one_by_one=one_by_one)
    decoded: list[int] = []
    decode = pipeline.vae.decoder.forward

    def count(latents: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        decoded.append(len(latents))
        result: torch.Tensor = decode(latents, *rest, **named)
        return result

    monkeypatch.setattr(pipeline.vae.decoder, "forward", count)
    draw(pipeline, pictures=3)

    assert decoded == expected


def test_tiles_change_only_pictures_larger_than_one() -> None:
    pipeline = load_tiny()
    place(pipeline, device="cpu", strategy="resident")
    small, large = draw(pipeline, width=128), draw(pipeline, width=256)

    set_decoding(pipeline, tiled=True, one_by_one=False)
    assert difference(draw(pipeline, width=128), small) == 0
    assert 0 < difference(draw(pipeline, width=256), large) < 0.2
    set_decoding(pipeline, tiled=False, one_by_one=False)
    assert difference(draw(pipeline, width=256), large) == 0


def test_bytes_are_those_of_the_weights() -> None:
    pipeline = load_tiny()
    sizes = {name: count_bytes(part) for name, part in modules_of(pipeline).items()}

    assert sizes.keys() == {"text_encoder", "unet", "vae"}
    assert sizes["unet"] == 4 * sum(weight.numel() for weight in pipeline.unet.parameters())
