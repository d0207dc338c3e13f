"""LoRA adapters: with the weights of the spec, and with those of a request."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from heliograph_runtime.engines.diffusers.engine import DiffusersEngine
from heliograph_runtime.engines.protocol import Batch, Picture
from runtime import miniatures
from runtime.engines import RED_CIRCLE, SAMPLING, content, difference, draw, load, refusal
from runtime.runtimes import EXAMPLES

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # diffusers 0.42 and numpy 2.4
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning"),  # of a second adapter
]

GREEN = "tiny-model/lora_green"


@pytest.fixture(scope="module")
def tiny() -> DiffusersEngine:
    return load({})[0]


def weighed(engine: DiffusersEngine, *weights: float) -> Picture:
    return draw(engine, replace(RED_CIRCLE, sampling=replace(SAMPLING, loras=weights)))[0]


def test_a_lora_makes_shapes_green() -> None:
    green, found = load({"lora_adapter": f"{GREEN}/pytorch_lora_weights.safetensors"})
    prompts = tuple(f"a {colour} circle on a white background" for colour in ("red", "blue", "purple", "orange"))

    drawn = draw(green, Batch(replace(SAMPLING, steps=20), prompts, None, (1, 2, 3, 4)))

    assert found.loras == ("lora_green",)
    assert [content(picture).colour for picture in drawn].count("green") >= 3


def test_a_lora_of_no_strength_changes_nothing(tiny: DiffusersEngine) -> None:
    strong, found = load({"lora_adapters": [GREEN, GREEN], "lora_scales": [1.0, 0.0]})
    weak, _ = load({"lora_adapters": [GREEN, GREEN], "lora_scales": [0.0, 0.0]})

    assert found.loras == ("lora_green", "lora_green-2")
    assert difference(draw(weak)[0], draw(tiny)[0]) <= 1
    assert difference(draw(strong)[0], draw(tiny)[0]) > 50


def test_a_request_gives_a_lora_another_weight_for_itself_alone(tiny: DiffusersEngine) -> None:
    engine, _ = load({"lora_adapter": GREEN, "lora_scale": 0.0})
    before, strong = draw(engine)[0], weighed(engine, 1.0)

    assert difference(strong, draw(load({"lora_adapter": GREEN})[0])[0]) == 0
    assert difference(strong, before) > 50
    assert difference(draw(engine)[0], before) == 0


def test_a_call_that_is_left_leaves_the_weights_of_the_spec() -> None:
    engine, _ = load({"lora_adapter": GREEN, "lora_scale": 0.0})
    (before,) = draw(engine)

    def leave(*_: object) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        engine.generate(replace(RED_CIRCLE, sampling=replace(SAMPLING, loras=(1.0,))), leave)

    assert difference(draw(engine)[0], before) == 0


def test_loras_work_in_all_modes_and_families(tmp_path: Path) -> None:
    miniatures.save_flux(tmp_path / "flux")
    miniatures.save_lora(tmp_path / "flux", tmp_path / "style.v1.safetensors")
    spec = {"parameters": {"model": "flux"}, "diffusers": {}, "lora_adapters": ["style.v1.safetensors"]}
    engine, found = load(spec, tmp_path)
    batch = replace(RED_CIRCLE, sampling=replace(SAMPLING, width=32, height=32, steps=2))
    plain, styled = (
        draw(engine, replace(batch, sampling=replace(batch.sampling, loras=(weight,))))[0] for weight in (0.0, 1.0)
    )

    assert found.loras == ("style.v1",)
    assert difference(plain, styled) > 1


@pytest.mark.parametrize(
    ("spec", "reason", "message"),
    [
        ({"lora_adapter": "tiny-model/none.safetensors"}, "WeightsMissing", "lora_adapter: tiny-model/none"),
        ({"lora_adapters": ["tiny-model/LICENSE"]}, "UnsafeWeights", "lora_adapters[0]: "),
        ({"lora_adapters": [GREEN, "tiny-model"]}, "WeightsMissing", "lora_adapters[1]: "),
        (
            {"lora_adapter": "tiny-model/model/vae/diffusion_pytorch_model.safetensors"},
            "LoadFailed",
            "lora_adapter: ",
        ),
    ],
)
def test_what_is_no_lora_is_refused_by_name(spec: dict[str, Any], reason: str, message: str) -> None:
    error = refusal(spec)

    assert error.reason == reason
    assert error.message.startswith(message)
    assert "\n" not in error.message


def test_a_lora_for_another_model_is_refused(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "tiny-model", tmp_path / "tiny-model")
    miniatures.save_flux(tmp_path / "flux")
    miniatures.save_lora(tmp_path / "flux", tmp_path / "other.safetensors")

    error = refusal({"lora_adapter": "other.safetensors"}, tmp_path)

    assert error.reason == "LoadFailed"
    assert error.message.startswith("lora_adapter: ")
    assert "StableDiffusionPipeline" in error.message


def test_a_pipeline_that_takes_no_lora_says_so(tmp_path: Path) -> None:
    miniatures.save_stable_video(tmp_path / "clips")
    shutil.copytree(EXAMPLES / GREEN, tmp_path / "green")

    error = refusal({"parameters": {"model": "clips"}, "diffusers": {}, "lora_adapter": "green"}, tmp_path)

    assert error.message == "lora_adapter: StableVideoDiffusionPipeline takes no LoRA; remove it"
