"""The diffusers engine inside this process: the trained tiny model, and miniatures of other families."""

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from heliograph_api.spec import parse_spec
from heliograph_runtime.engines.diffusers.engine import DiffusersEngine
from heliograph_runtime.engines.protocol import Batch, Capabilities, LoadError, Picture, Sampling
from heliograph_runtime.engines.samplers import SAMPLERS
from pictures import Content, classify
from runtime import miniatures
from runtime.runtimes import EXAMPLES, TINY
from runtime.single_files import save_single_file

# diffusers 0.42 and numpy 2.4
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SAMPLING = Sampling(width=128, height=128, steps=8, guidance_scale=4.0, sampler=None, clip_skip=None)
RED_CIRCLE = Batch(SAMPLING, ("a red circle on a white background",), None, (1,))
FAMILIES: dict[str, Callable[[Path], None]] = {
    "sdxl": miniatures.save_sdxl,
    "flux": miniatures.save_flux,
    "sd3": miniatures.save_sd3,
}


def load(spec: dict[str, Any], models_dir: Path = EXAMPLES) -> tuple[DiffusersEngine, Capabilities]:
    engine = DiffusersEngine()
    return engine, engine.load(parse_spec(TINY | spec), models_dir=models_dir)


def refusal(spec: dict[str, Any], models_dir: Path = EXAMPLES) -> LoadError:
    with pytest.raises(LoadError) as caught:
        load(spec, models_dir)
    return caught.value


def draw(engine: DiffusersEngine, batch: Batch = RED_CIRCLE) -> list[Picture]:
    return engine.generate(batch, lambda _done, _steps: None)


def content(picture: Picture) -> Content:
    return classify(Image.frombytes("RGB", (picture.width, picture.height), picture.pixels))


def difference(first: Picture, second: Picture) -> int:
    pixels = (np.frombuffer(picture.pixels, dtype=np.uint8).astype(int) for picture in (first, second))
    return int(np.abs(np.subtract(*pixels)).max())


@pytest.fixture(scope="module")
def tiny() -> DiffusersEngine:
    return load({})[0]


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[DiffusersEngine, Capabilities]]:
    models_dir = tmp_path_factory.mktemp("models")
    loaded = {}
    for name, save in FAMILIES.items():
        save(models_dir / name)
        loaded[name] = load({"parameters": {"model": name}, "diffusers": {}}, models_dir)
    return loaded


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLES / "tiny-model/model", tmp_path / "m"))


def test_reads_what_the_model_can_do() -> None:
    assert load({})[1] == Capabilities(
        pipeline="StableDiffusionPipeline",
        device="cpu",
        dtype="float32",
        width=128,
        height=128,
        size_multiple=8,
        samplers=SAMPLERS,
        negative_prompt=True,
        max_clip_skip=1,
        max_steps=999,
        steps=20,
        guidance_scale=9.0,
        sampler="euler_a",
    )


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("sdxl", ("StableDiffusionXLPipeline", 256, 8, SAMPLERS, True, 2, 25, 5.0)),
        ("flux", ("FluxPipeline", 1024, 16, ("euler",), False, None, 20, 3.5)),
        ("sd3", ("StableDiffusion3Pipeline", 256, 16, ("euler",), True, 2, 20, 4.5)),
    ],
)
def test_reads_what_other_families_can_do(
    families: dict[str, tuple[DiffusersEngine, Capabilities]], family: str, expected: tuple[object, ...]
) -> None:
    found = families[family][1]

    assert expected == (
        found.pipeline,
        found.width,
        found.size_multiple,
        found.samplers,
        found.negative_prompt,
        found.max_clip_skip,
        found.steps,
        found.guidance_scale,
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_an_image_is_the_same_alone_and_in_a_batch(
    families: dict[str, tuple[DiffusersEngine, Capabilities]], family: str
) -> None:
    engine, found = families[family]
    sampling = Sampling(48, 48, 3, found.guidance_scale, None, None)
    together = draw(engine, Batch(sampling, ("a cat", "a long brown dog"), None, (1, 2)))
    (alone,) = draw(engine, Batch(sampling, ("a long brown dog",), None, (2,)))

    assert [(picture.width, picture.height) for picture in together] == [(48, 48), (48, 48)]
    assert difference(together[1], alone) <= 1
    assert difference(together[0], alone) > 1


def test_a_call_can_be_left_between_two_steps(tiny: DiffusersEngine) -> None:
    (before,) = draw(tiny)
    steps = []

    def on_step(done: int, of: int) -> None:
        steps.append((done, of))
        if done == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        tiny.generate(RED_CIRCLE, on_step)

    assert steps == [(1, 8), (2, 8), (3, 8)]
    assert draw(tiny) == [before]


def test_a_lora_makes_shapes_green() -> None:
    green, _ = load({"lora_adapter": "tiny-model/lora_green/pytorch_lora_weights.safetensors"})
    prompts = tuple(f"a {colour} circle on a white background" for colour in ("red", "blue", "purple", "orange"))

    drawn = draw(green, Batch(replace(SAMPLING, steps=20), prompts, None, (1, 2, 3, 4)))

    assert [content(picture).colour for picture in drawn].count("green") >= 3


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning")
def test_a_lora_of_no_strength_changes_nothing(tiny: DiffusersEngine) -> None:
    folders = ["tiny-model/lora_green", "tiny-model/lora_green"]
    strong, _ = load({"lora_adapters": folders, "lora_scales": [1.0, 0.0]})
    weak, _ = load({"lora_adapters": folders, "lora_scales": [0.0, 0.0]})

    assert difference(draw(weak)[0], draw(tiny)[0]) <= 1
    assert difference(draw(strong)[0], draw(tiny)[0]) > 50


@pytest.mark.parametrize(
    ("spec", "reason", "field"),
    [
        ({"lora_adapter": "tiny-model/none.safetensors"}, "WeightsMissing", "lora_adapter:"),
        ({"lora_adapters": ["tiny-model/LICENSE"]}, "UnsafeWeights", "lora_adapters[0]:"),
        (
            {"lora_adapter": "tiny-model/model/vae/diffusion_pytorch_model.safetensors"},
            "LoadFailed",
            "parameters.model:",
        ),
        ({"diffusers": {"control_net": "tiny-model/controlnet_outline"}}, "Unsupported", "diffusers.control_net:"),
        ({"diffusers": {"img2img": True}}, "Unsupported", "diffusers.img2img:"),
        ({"tensor_parallel_size": 2}, "Unsupported", "tensor_parallel_size:"),
        ({"diffusers": {"scheduler_type": "restart"}}, "InvalidSpec", "diffusers.scheduler_type:"),
        ({"diffusers": {"clip_skip": 2}}, "InvalidSpec", "diffusers.clip_skip:"),
        ({"step": 1000}, "InvalidSpec", "step:"),
        ({"options": ["flow_shift:3"]}, "InvalidSpec", "options: flow_shift"),
        ({"options": ["num_images_per_prompt:2"]}, "InvalidSpec", "options: num_images_per_prompt"),
        ({"options": ["guidance_rescale:much"]}, "InvalidSpec", "options: guidance_rescale"),
        ({"options": ["torch_dtype:int8"]}, "InvalidSpec", "options: torch_dtype"),
        ({"diffusers": {"pipeline_type": "Nothing"}}, "UnknownPipeline", "diffusers.pipeline_type:"),
        ({"diffusers": {"pipeline_type": "FluxPipeline"}}, "LoadFailed", "parameters.model:"),
    ],
)
def test_what_cannot_be_loaded_is_refused_by_name(spec: dict[str, Any], reason: str, field: str) -> None:
    error = refusal(spec)

    assert error.reason == reason
    assert error.message.startswith(field)
    assert "\n" not in error.message


def test_defaults_that_a_family_has_no_use_for_are_refused(tmp_path: Path) -> None:
    miniatures.save_flux(tmp_path / "flux")
    flux: dict[str, Any] = {"parameters": {"model": "flux", "negative_prompt": "red"}, "diffusers": {}}

    assert refusal(flux, tmp_path).message.startswith("parameters.negative_prompt:")
    assert load(flux | {"options": ["true_cfg_scale:4"]}, tmp_path)[1].negative_prompt
    assert refusal({"parameters": {"model": "flux"}, "diffusers": {"scheduler_type": "ddim"}}, tmp_path).message == (
        "diffusers.scheduler_type: 'ddim' is no sampler of this model; use one of euler"
    )


def test_a_single_file_draws_like_its_folder(tiny: DiffusersEngine, model: Path) -> None:
    save_single_file(model, model.with_suffix(".safetensors"))
    for weights in model.glob("*/*.safetensors"):
        weights.unlink()
    single, _ = load({"parameters": {"model": "m.safetensors"}, "diffusers": {}}, model.parent)

    assert difference(draw(single)[0], draw(tiny)[0]) <= 1


def test_half_precision_on_a_cpu_is_not_done(caplog: pytest.LogCaptureFixture, tiny: DiffusersEngine) -> None:
    with caplog.at_level(logging.WARNING):
        engine, found = load({"f16": True})

    assert found.dtype == "float32"
    assert any(message.startswith("f16:") for message in caplog.messages)
    assert draw(engine) == draw(tiny)


def test_a_gpu_that_is_not_there_is_told(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with caplog.at_level(logging.WARNING):
        _, found = load({"cuda": True})

    assert found.device == "cpu"
    assert any(message.startswith("cuda:") for message in caplog.messages)


@pytest.mark.parametrize("f16", [False, True])
def test_fp16_files_are_used_where_there_are_no_others(tiny: DiffusersEngine, model: Path, f16: bool) -> None:
    weights = model / "unet/diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".fp16.safetensors"))
    engine, _ = load({"parameters": {"model": "m"}, "f16": f16}, model.parent)

    assert draw(engine) == draw(tiny)


def test_the_number_type_can_be_chosen() -> None:
    engine, found = load({"options": ["torch_dtype:bf16"]})

    assert found.dtype == "bfloat16"
    assert content(draw(engine, replace(RED_CIRCLE, sampling=replace(SAMPLING, steps=20)))[0]) == Content(
        "red", "circle", "white"
    )


def test_options_reach_the_pipeline(tiny: DiffusersEngine) -> None:
    engine, _ = load({"options": ["guidance_rescale:0.7", "cfg_scale:4"]})

    assert difference(draw(engine)[0], draw(tiny)[0]) > 1


def test_the_number_of_threads_can_be_chosen() -> None:
    before = torch.get_num_threads()
    try:
        load({"threads": before + 1})
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
