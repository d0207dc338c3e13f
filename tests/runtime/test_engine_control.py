"""ControlNets: the control image leads in every mode, and is not needed in any."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import ImageChops, ImageFilter

from heliograph_runtime.engines.diffusers.engine import DiffusersEngine
from heliograph_runtime.engines.protocol import Batch, Capabilities, Inputs, Mode, Picture, Raster
from pictures import draw as draw_true
from runtime import miniatures
from runtime.engines import (
    RED_CIRCLE,
    SAMPLING,
    content,
    difference,
    draw,
    left_half,
    load,
    load_folder,
    make_sampling,
    patches,
    raster,
    refusal,
)
from runtime.runtimes import EXAMPLES

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # diffusers 0.42 and numpy 2.4
    pytest.mark.filterwarnings("ignore:.?FluxPosEmbed.? is deprecated:FutureWarning"),  # diffusers' own use of it
]

OUTLINE = "tiny-model/controlnet_outline"
MODES: tuple[Mode, ...] = ("text", "image", "inpaint")


@pytest.fixture(scope="module")
def tiny() -> DiffusersEngine:
    return load({"diffusers": {"control_net": OUTLINE}})[0]


def outline(shape: str) -> Raster:
    """Return the white outline of a shape on black, five pixels wide as the ControlNet was trained with it."""
    mask = draw_true("black", shape, "white").convert("L")
    return raster(ImageChops.subtract(mask.filter(ImageFilter.MaxFilter(5)), mask.filter(ImageFilter.MinFilter(5))))


def test_the_outline_gives_the_shape(tiny: DiffusersEngine) -> None:
    shapes = ("circle", "square", "triangle", "cross")
    sampling = replace(SAMPLING, steps=12, control_strength=1.0)
    drawn = [
        draw(tiny, Batch(sampling, ("a blue shape on a white background",), None, (1,), Inputs(control=outline(shape))))
        for shape in shapes
    ]

    assert sum(content(picture).shape == shape for (picture,), shape in zip(drawn, shapes, strict=True)) >= 3


def test_without_a_control_image_it_draws_as_without_the_controlnet(tiny: DiffusersEngine) -> None:
    plain, _ = load({})

    assert difference(draw(tiny)[0], draw(plain)[0]) == 0


def test_strength_0_is_no_control(tiny: DiffusersEngine) -> None:
    batch = replace(RED_CIRCLE, inputs=Inputs(control=outline("star")))
    weak, strong = (
        draw(tiny, replace(batch, sampling=replace(SAMPLING, control_strength=strength)))[0] for strength in (0.0, 1.0)
    )

    assert difference(weak, draw(tiny)[0]) <= 1
    assert difference(strong, weak) > 50


CONTROLLED: list[tuple[Callable[[Path], None], Callable[[Path], None], str]] = [
    (miniatures.save_sd, miniatures.save_sd_controlnet, "StableDiffusionControlNetPipeline"),
    (miniatures.save_sdxl, miniatures.save_sdxl_controlnet, "StableDiffusionXLControlNetPipeline"),
    (miniatures.save_flux, miniatures.save_flux_controlnet, "FluxControlNetPipeline"),
]


@pytest.mark.parametrize("named_by_files", [False, True])
@pytest.mark.parametrize(
    ("save", "save_controlnet", "pipeline"), CONTROLLED, ids=lambda it: getattr(it, "__name__", "")
)
def test_the_control_image_shows_in_every_mode(
    tmp_path: Path,
    save: Callable[[Path], None],
    save_controlnet: Callable[[Path], None],
    pipeline: str,
    named_by_files: bool,
) -> None:
    save(tmp_path / "model")
    save_controlnet(tmp_path / "control")
    if named_by_files:
        index = tmp_path / "model/model_index.json"
        control_class = json.loads((tmp_path / "control/config.json").read_text())["_class_name"]
        named = {"_class_name": pipeline, "controlnet": ["diffusers", control_class]}
        index.write_text(json.dumps(json.loads(index.read_text()) | named))
        shutil.move(tmp_path / "control", tmp_path / "model/controlnet")
    engine, found = load_folder(tmp_path / "model", diffusers={} if named_by_files else {"control_net": "control"})

    assert all(mode.control for mode in found.modes.values())
    assert tuple(found.modes) == MODES
    assert "ControlNet" not in found.modes["text"].pipeline
    for mode in MODES:
        assert_controlled(engine, found, mode)


UNIONS = [
    (miniatures.save_sdxl, miniatures.save_sdxl_union_controlnet),
    (miniatures.save_flux, miniatures.save_flux_union_controlnet),
]


@pytest.mark.parametrize(("save", "save_controlnet"), UNIONS, ids=["sdxl", "flux"])
def test_a_controlnet_for_several_kinds_of_images(
    tmp_path: Path, save: Callable[[Path], None], save_controlnet: Callable[[Path], None]
) -> None:
    save(tmp_path / "model")
    save_controlnet(tmp_path / "control")
    engine, found = load_folder(tmp_path / "model", diffusers={"control_net": "control"}, options=["control_mode:2"])

    assert [mode for mode, can in found.modes.items() if can.control] == [*MODES]
    for mode in MODES:
        assert_controlled(engine, found, mode)


@pytest.mark.parametrize("options", [[], ["control_mode:6"], ["control_mode:1,2"]])
@pytest.mark.parametrize(("save", "save_controlnet"), UNIONS, ids=["sdxl", "flux"])
def test_a_controlnet_for_several_kinds_is_told_which(
    tmp_path: Path, save: Callable[[Path], None], save_controlnet: Callable[[Path], None], options: list[str]
) -> None:
    save(tmp_path / "model")
    save_controlnet(tmp_path / "control")
    spec: dict[str, Any] = {
        "parameters": {"model": "model"}, "diffusers": {"control_net": "control"}, "options": options
    }  # fmt: skip

    error = refusal(spec, tmp_path)

    assert error.reason == "InvalidSpec"
    assert error.message.startswith("options: control_mode must be a number from 0 to 5, not ")


def assert_controlled(engine: DiffusersEngine, found: Capabilities, mode: Mode) -> None:
    sampling = replace(make_sampling(found, mode), control_strength=1.0)
    batch = Batch(sampling, ("a cat", "two blue dogs"), None, (1, 3))
    images = () if mode == "text" else (patches(1),)
    mask = left_half() if mode == "inpaint" else None

    def controlled(control: Raster | None) -> list[Picture]:
        return draw(engine, replace(batch, inputs=Inputs(images, mask, control)))

    first, second, free = controlled(patches(5)), controlled(patches(6)), controlled(None)
    assert len(first) == 2
    for place in range(2):
        assert difference(first[place], second[place]) > 1
        assert difference(first[place], free[place]) > 1
        assert (first[place].width, first[place].height) == (sampling.width, sampling.height)


def test_what_a_pipeline_lacks_that_follows_a_control_image_is_told(tmp_path: Path) -> None:
    miniatures.save_flux(tmp_path / "model")
    miniatures.save_flux_controlnet(tmp_path / "control")

    _, found = load_folder(tmp_path / "model", diffusers={"control_net": "control"})

    lacking = ("negative_prompt", "true_cfg_scale")
    assert {mode: can.control_lacks for mode, can in found.modes.items()} == {
        "text": (), "image": lacking, "inpaint": lacking,
    }  # fmt: skip


def test_a_mode_without_a_controlnet_is_served_without_one(tmp_path: Path) -> None:
    miniatures.save_sd3(tmp_path / "model")
    miniatures.save_sd3_controlnet(tmp_path / "control")

    engine, found = load_folder(tmp_path / "model", diffusers={"control_net": "control"})

    assert {mode: can.control for mode, can in found.modes.items()} == {"text": True, "image": False, "inpaint": False}
    assert_controlled(engine, found, "text")
    changing = Batch(make_sampling(found, "image"), ("a cat",), None, (1,), Inputs((patches(1),)))
    assert len(draw(engine, changing)) == 1


def test_the_same_request_draws_the_same_under_a_control_image(tmp_path: Path) -> None:
    miniatures.save_sd3(tmp_path / "model")
    miniatures.save_sd3_controlnet(tmp_path / "control")
    engine, found = load_folder(tmp_path / "model", diffusers={"control_net": "control"})
    sampling = replace(make_sampling(found, "text"), control_strength=1.0)
    batch = Batch(sampling, ("a cat", "two blue dogs"), None, (1, 3), Inputs(control=patches(5)))

    first, again = draw(engine, batch), draw(engine, batch)

    assert [difference(*pair) for pair in zip(first, again, strict=True)] == [0, 0]


def test_a_mode_that_the_weights_are_not_for_is_not_served(tmp_path: Path) -> None:
    miniatures.save_sd_inpaint(tmp_path / "model")
    miniatures.save_sd_controlnet(tmp_path / "control")

    _, found = load_folder(tmp_path / "model", diffusers={"control_net": "control"})

    assert tuple(found.modes) == ("inpaint",)


@pytest.mark.parametrize(
    ("control_net", "reason", "message"),
    [
        ("none", "WeightsMissing", "diffusers.control_net: none was not found"),
        ("tiny-model/LICENSE", "UnknownFormat", "diffusers.control_net: tiny-model/LICENSE is no folder"),
        ("tiny-model/model/unet", "UnknownFormat", "names no ControlNet of diffusers"),
        ("tiny-model/lora_green", "WeightsMissing", "config.json was not found"),
    ],
)
def test_what_is_no_controlnet_is_refused(control_net: str, reason: str, message: str) -> None:
    error = refusal({"diffusers": {"control_net": control_net}})

    assert error.reason == reason
    assert message in error.message


def test_a_controlnet_in_a_pickle_is_refused(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "tiny-model", tmp_path / "tiny-model")
    (weights,) = (tmp_path / OUTLINE).glob("*.safetensors")
    weights.rename(weights.with_suffix(".bin"))

    error = refusal({"diffusers": {"control_net": OUTLINE}}, tmp_path)

    assert error.reason == "UnsafeWeights"
    assert error.message.startswith("diffusers.control_net: ")


def test_fp16_files_are_used_where_there_are_no_others(tmp_path: Path) -> None:
    miniatures.save_sd(tmp_path / "model")
    miniatures.save_sd_controlnet(tmp_path / "control")
    weights = tmp_path / "control/diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".fp16.safetensors"))

    assert load_folder(tmp_path / "model", diffusers={"control_net": "control"})[1].modes["text"].control


@pytest.mark.parametrize("save", [miniatures.save_chroma, miniatures.save_stable_video])
def test_a_family_without_controlnets_says_so(tmp_path: Path, save: Callable[[Path], None]) -> None:
    save(tmp_path / "model")
    miniatures.save_sd_controlnet(tmp_path / "control")
    spec: dict[str, Any] = {"parameters": {"model": "model"}, "diffusers": {"control_net": "control"}}

    assert refusal(spec, tmp_path).message.startswith("diffusers.control_net: diffusers has no ")


@pytest.mark.parametrize(
    ("save", "save_controlnet"),
    [
        (miniatures.save_flux, miniatures.save_sd_controlnet),
        (miniatures.save_sd, miniatures.save_flux_controlnet),
        (miniatures.save_sd, miniatures.save_sdxl_controlnet),
    ],
)
def test_a_controlnet_for_another_model_is_refused(
    tmp_path: Path, save: Callable[[Path], None], save_controlnet: Callable[[Path], None]
) -> None:
    save(tmp_path / "model")
    save_controlnet(tmp_path / "control")
    spec: dict[str, Any] = {"parameters": {"model": "model"}, "diffusers": {"control_net": "control"}}

    error = refusal(spec, tmp_path)

    assert error.reason == "LoadFailed"
    assert error.message.startswith("diffusers.control_net: the ")
    assert "is not for this" in error.message
