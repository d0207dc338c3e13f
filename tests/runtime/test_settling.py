"""How a model is made ready on this machine, from the options of its spec."""

from typing import Any

import pytest
import torch

from heliograph_api.spec import ImageModelSpec, parse_spec
from heliograph_runtime.engines import container
from heliograph_runtime.engines.diffusers import settling
from heliograph_runtime.engines.diffusers.files import find_model
from heliograph_runtime.engines.diffusers.placement import Strategy, count_bytes
from heliograph_runtime.engines.diffusers.settling import check_machine, quantize_weights, settle
from heliograph_runtime.engines.protocol import LoadError, Sampling
from runtime.loaded import draw, load_tiny
from runtime.runtimes import EXAMPLES, TINY


def spec(**changes: Any) -> ImageModelSpec:
    return parse_spec(TINY | changes)


def checked(wanted: ImageModelSpec) -> dict[str, Any]:
    files = find_model(wanted.model, models_dir=EXAMPLES)
    return check_machine(wanted, files, device="cpu", dtype=torch.float32)


def test_a_model_is_made_ready_on_the_cpu() -> None:
    pipeline = load_tiny()
    assert checked(spec()) == {}

    settled = settle(pipeline, spec(), device="cpu", loras=False)

    assert (settled.budget.device, settled.budget.arriving, settled.compiled) == ("cpu", 0, False)
    assert not settled.budget.tiled(Sampling("text", 128, 128))
    assert (settled.budget.max_pixels() or 0) > 512 * 512
    assert draw(pipeline).shape == (1, 64, 64, 3)


def test_low_vram_saves_memory_on_a_cpu_too() -> None:
    assert settle(load_tiny(), spec(low_vram=True), device="cpu", loras=False).budget.tiled(Sampling("text", 128, 128))


def test_options_quantise_and_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    monkeypatch.setattr(settling, "accelerate", lambda *_, **named: compiled.append(named["compiling"]))
    wanted = spec(options=["quantization:int8wo", "compile:true", "attention:native"])
    pipeline = load_tiny()
    before = count_bytes(pipeline.unet)

    assert checked(wanted) == {}
    quantize_weights(pipeline, wanted, device="cpu")
    settled = settle(pipeline, wanted, device="cpu", loras=False)

    assert count_bytes(pipeline.unet) < before
    assert settled.compiled
    assert compiled == ["whole"]


@pytest.mark.parametrize(("strategy", "arriving"), [("resident", False), ("parts", True), ("layers", False)])
def test_memory_is_left_free_for_a_part_that_comes_during_a_call(
    monkeypatch: pytest.MonkeyPatch, strategy: Strategy, arriving: bool
) -> None:
    monkeypatch.setattr(settling, "choose_strategy", lambda *_, **__: strategy)
    pipeline = load_tiny()
    largest = count_bytes(pipeline.unet)

    budget = settle(pipeline, spec(), device="cpu", loras=False).budget

    assert budget.arriving == (largest if arriving else 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"options": ["quantization:int3"]}, "options: quantization must be one of"),
        ({"options": ["quantization:fp8"]}, "options: quantization:fp8 needs a CUDA device"),
        ({"tensor_parallel_size": 2}, "tensor_parallel_size: 2 GPUs are asked for, but 0 can be used here"),
    ],
)
def test_what_this_machine_cannot_do_is_refused_before_weights_are_read(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(LoadError) as caught:
        checked(spec(**changes))
    assert caught.value.message.startswith(message)


def test_weights_that_do_not_fit_are_refused_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "memory_limit", lambda: 1000)

    with pytest.raises(LoadError, match=r"parameters\.model: its weights take"):
        checked(spec())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["compile:perhaps"], "options: compile must be true or false, not 'perhaps'"),
        (["attention:sage"], "options: attention:sage has no effect on UNet2DConditionModel"),
    ],
)
def test_options_that_the_pipeline_cannot_do_are_refused(options: list[str], message: str) -> None:
    with pytest.raises(LoadError) as caught:
        settle(load_tiny(), spec(options=options), device="cpu", loras=False)
    assert caught.value.message.startswith(message)
