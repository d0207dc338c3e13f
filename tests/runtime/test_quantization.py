"""Quantised weights: what is refused where, and what becomes of a model that is quantised for real."""

from pathlib import Path
from typing import Any

import pytest
import torch

from heliograph_api.spec import parse_spec
from heliograph_runtime.engines.diffusers import quantization
from heliograph_runtime.engines.diffusers.placement import count_bytes, place
from heliograph_runtime.engines.diffusers.quantization import (
    SCHEMES,
    check_quantization,
    choose_quantization,
    quantize,
    unsuitable,
)
from heliograph_runtime.engines.protocol import LoadError
from runtime import miniatures
from runtime.loaded import difference, draw, load, load_tiny
from runtime.runtimes import EXAMPLES, TINY


@pytest.fixture(scope="module")
def flux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flux")
    torch.manual_seed(1)
    miniatures.save_flux(folder)
    return folder


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ({}, None),
        ({"options": ["quantization:int8wo"]}, "int8wo"),
        ({"options": ["quantization: fp8"], "diffusers": {"pipeline_type": "FluxTransformer2DModel"}}, "fp8"),
        ({"diffusers": {"pipeline_type": "fluxtransformer2dmodel"}}, "qfloat8"),
    ],
)
def test_the_spec_names_the_quantisation(spec: dict[str, Any], name: str | None) -> None:
    assert choose_quantization(parse_spec(TINY | spec)) == name


@pytest.mark.parametrize(
    ("name", "capability", "dtype", "problem"),
    [
        ("int8wo", None, torch.float32, None),
        ("qfloat8", (7, 0), torch.float16, None),
        ("fp8", (9, 0), torch.bfloat16, None),
        ("fp8", (8, 9), torch.bfloat16, None),
        ("fp8", (8, 6), torch.bfloat16, "needs compute capability 8.9, and this GPU has 8.6"),
        ("fp8", (9, 0), torch.float16, "needs the other weights as bfloat16"),
        ("int4wo", (8, 0), torch.bfloat16, None),
        ("int4wo", (7, 5), torch.bfloat16, "needs compute capability 8.0, and this GPU has 7.5"),
        ("int4wo", None, torch.bfloat16, "needs a CUDA device of compute capability 8.0"),
    ],
)
def test_a_scheme_goes_with_some_devices(
    name: str, capability: tuple[int, int] | None, dtype: torch.dtype, problem: str | None
) -> None:
    found = unsuitable(SCHEMES[name], capability=capability, dtype=dtype)

    assert found is None if problem is None else found and found.startswith(problem)


@pytest.mark.parametrize(
    ("name", "gpus", "reason", "message"),
    [
        ("int3", 1, "InvalidSpec", "options: quantization must be one of int8wo, qfloat8, fp8, int4wo, not 'int3'"),
        ("fp8", 1, "Unsupported", "options: quantization:fp8 needs a CUDA device"),
        ("int8wo", 2, "Unsupported", "options: quantization is for one GPU"),
    ],
)
def test_what_cannot_be_quantised_here_is_refused(name: str, gpus: int, reason: str, message: str) -> None:
    with pytest.raises(LoadError) as caught:
        check_quantization(name, device="cpu", dtype=torch.float32, gpus=gpus)

    assert caught.value.reason == reason
    assert caught.value.message.startswith(message)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "find_spec", lambda _name: None)

    with pytest.raises(
        LoadError, match=r"needs the Python package torchao.*install Heliograph with its extra quantization"
    ):
        check_quantization("int8wo", device="cpu", dtype=torch.float32, gpus=1)


@pytest.mark.parametrize(("name", "distance"), [("int8wo", 0.05), ("qfloat8", 0.2)])
def test_a_transformer_shrinks_to_a_third_and_draws_nearly_the_same(flux: Path, name: str, distance: float) -> None:
    pipeline = load("FluxPipeline", flux)
    before, encoder = count_bytes(pipeline.transformer), count_bytes(pipeline.text_encoder_2)
    picture = draw(pipeline)

    check_quantization(name, device="cpu", dtype=torch.float32, gpus=1)
    quantize(pipeline, name, device="cpu")

    assert count_bytes(pipeline.transformer) < before / 3
    assert count_bytes(pipeline.text_encoder_2) == encoder  # too small for it to be worth it
    assert 0 < difference(draw(pipeline), picture) < distance


def test_a_large_text_encoder_shrinks_too(flux: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = load("FluxPipeline", flux)
    sizes = [count_bytes(part) for part in (pipeline.text_encoder, pipeline.text_encoder_2)]
    monkeypatch.setattr(quantization, "_LARGE", max(sizes))

    quantize(pipeline, "int8wo", device="cpu")

    found = [count_bytes(part) for part in (pipeline.text_encoder, pipeline.text_encoder_2)]
    assert [size < before for size, before in zip(found, sizes, strict=True)] == [it == max(sizes) for it in sizes]


@pytest.mark.parametrize("strategy", ["parts", "layers"])
def test_quantised_weights_can_come_and_go(flux: Path, strategy: Any) -> None:
    pipeline = load("FluxPipeline", flux)
    quantize(pipeline, "int8wo", device="cpu")
    picture = draw(pipeline)

    place(pipeline, device="cpu", strategy=strategy)

    assert difference(draw(pipeline), picture) == 0


@pytest.mark.filterwarnings("ignore:TorchaoLoraLinear was instantiated:UserWarning")
def test_a_quantised_model_takes_a_lora() -> None:
    def with_lora(pipeline: Any) -> Any:
        pipeline.load_lora_weights(EXAMPLES / "tiny-model/lora_green", weight_name="pytorch_lora_weights.safetensors")
        return draw(pipeline)

    plain, quantised = load_tiny(), load_tiny()
    quantize(quantised, "int8wo", device="cpu")
    without = draw(quantised)
    expected, found = with_lora(plain), with_lora(quantised)

    assert difference(found, expected) < difference(found, without) / 5
