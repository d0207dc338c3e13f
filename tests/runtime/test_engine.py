"""The diffusers engine inside this process with the trained tiny model, judged by what the pictures show."""

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from heliograph_api.sampler_table import SAMPLERS, SCHEDULES
from heliograph_runtime.engines.diffusers.engine import DiffusersEngine
from heliograph_runtime.engines.protocol import Batch, Capabilities, Inputs, Mode, ModeCapabilities
from pictures import Content
from pictures import draw as draw_true
from runtime import miniatures
from runtime.engines import (
    RED_CIRCLE,
    SAMPLING,
    content,
    difference,
    draw,
    draw_steps,
    left_half,
    load,
    load_folder,
    make_sampling,
    pixels,
    raster,
    refusal,
)
from runtime.runtimes import EXAMPLES

# diffusers 0.42 and numpy 2.4
pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")

TRUE_RED_CIRCLE = Inputs(images=(raster(draw_true("red", "circle", "white")),))


@pytest.fixture(scope="module")
def tiny() -> DiffusersEngine:
    return load({})[0]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLES / "tiny-model/model", tmp_path / "m"))


def test_reads_what_the_model_can_do() -> None:
    found = load({})[1]

    assert found == Capabilities(
        family="StableDiffusion",
        modes={
            "text": ModeCapabilities("StableDiffusionPipeline"),
            "image": ModeCapabilities("StableDiffusionImg2ImgPipeline", strength=0.75, max_images=1),
            "inpaint": ModeCapabilities("StableDiffusionInpaintPipeline", strength=1.0, max_images=1),
        },
        device="cpu",
        dtype="float32",
        width=128,
        height=128,
        size_multiple=8,
        max_pixels=found.max_pixels,
        samplers=tuple(row.name for row in SAMPLERS if row.diffusers),
        schedules=found.schedules,
        max_clip_skip=1,
        max_steps=999,
        steps=20,
        guidance_scale=9.0,
        distilled_guidance=False,
        true_cfg_scale=None,
        sampler="euler_a",
        loras=(),
        previews=True,
        video=None,
    )
    assert found.max_pixels is None or found.max_pixels >= 128 * 128
    assert set(found.schedules) <= {row.name for row in SCHEDULES if row.diffusers}


def test_more_of_a_picture_changes_with_its_strength(tiny: DiffusersEngine) -> None:
    (original,) = TRUE_RED_CIRCLE.images
    blue = Batch(
        replace(SAMPLING, mode="image", steps=20),
        ("a blue circle on a white background",),
        None,
        (1,),
        inputs=TRUE_RED_CIRCLE,
    )
    drawn = [
        draw(tiny, replace(blue, sampling=replace(blue.sampling, strength=strength)))[0]
        for strength in (0.05, 0.3, 0.6, 0.9)
    ]
    changes = [
        float(np.abs(pixels(picture) - np.frombuffer(original.pixels, np.uint8).reshape(1, 128, 128, 3)).mean())
        for picture in drawn
    ]

    assert changes == sorted(changes)
    assert content(drawn[0]).colour == "red"
    assert content(drawn[-1]) == Content("blue", "circle", "white")


def test_inpainting_draws_inside_the_mask_and_keeps_the_rest(tiny: DiffusersEngine) -> None:
    (original,) = TRUE_RED_CIRCLE.images
    batch = Batch(
        replace(SAMPLING, mode="inpaint", steps=20, strength=1.0),
        ("a blue square on a blue background",),
        None,
        (1,),
        inputs=replace(TRUE_RED_CIRCLE, mask=left_half(128, 128)),
    )
    (picture,) = draw(tiny, batch)
    before = np.frombuffer(original.pixels, np.uint8).reshape(1, 128, 128, 3).astype(int)
    changed = np.abs(pixels(picture) - before).mean(axis=(0, 1, 3))

    assert changed[:56].mean() > 100
    assert changed[72:].mean() < 30  # what the VAE makes of a true picture


@pytest.mark.parametrize("mode", ["image", "inpaint"])
def test_a_strength_that_leaves_less_than_a_step_leaves_one(tiny: DiffusersEngine, mode: Mode) -> None:
    sampling = replace(SAMPLING, mode=mode, steps=3, strength=0.0)
    _, steps = draw_steps(
        tiny, Batch(sampling, ("a star",), None, (1,), inputs=replace(TRUE_RED_CIRCLE, mask=left_half(128, 128)))
    )

    assert [(done, of) for done, of, _ in steps] == [(1, 1)]


@pytest.mark.parametrize("save", [miniatures.save_sd, miniatures.save_sdxl, miniatures.save_sd3])
def test_skipped_clip_layers_show_in_the_picture(tmp_path: Path, save: Callable[[Path], None]) -> None:
    save(tmp_path / "model")
    engine, found = load_folder(tmp_path / "model", diffusers={"clip_skip": 1})
    batch = Batch(make_sampling(found, "text", steps=2), ("a cat",), None, (1,))
    drawn = [draw(engine, replace(batch, sampling=replace(batch.sampling, clip_skip=skip)))[0] for skip in (None, 1, 2)]

    assert found.max_clip_skip == 2
    assert difference(drawn[0], drawn[1]) > 1
    assert difference(drawn[1], drawn[2]) > 1


def test_an_error_leaves_the_model_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, _ = load({"lora_adapter": "tiny-model/lora_green", "lora_scale": 0.0})
    (before,) = draw(engine)
    odd = replace(SAMPLING, sampler="dpm_2", loras=(1.0,), clip_skip=1)

    def fail(*_: object, **__: object) -> None:
        raise ValueError("out of luck")

    with monkeypatch.context() as patch:
        patch.setattr(diffusers.AutoencoderKL, "decode", fail)
        with pytest.raises(ValueError, match="out of luck"):
            draw(engine, replace(RED_CIRCLE, sampling=odd))

    assert difference(draw(engine)[0], before) == 0


def test_what_the_model_names_itself_is_used_for_what_a_request_leaves_open() -> None:
    engine, found = load({"options": ["strength:0.5"]})
    batch = Batch(replace(SAMPLING, mode="image", steps=10), ("a blue circle",), None, (1,), inputs=TRUE_RED_CIRCLE)

    assert {mode: able.strength for mode, able in found.modes.items()} == {"text": None, "image": 0.5, "inpaint": 0.5}
    assert len(draw_steps(engine, batch)[1]) == 5


@pytest.mark.parametrize(
    ("spec", "reason", "field"),
    [
        ({"tensor_parallel_size": 2}, "TooFewGPUs", "tensor_parallel_size:"),
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
    assert load(flux | {"options": ["true_cfg_scale:4"]}, tmp_path)[1].modes["text"].negative_prompt
    error = refusal({"parameters": {"model": "flux"}, "diffusers": {"scheduler_type": "ddim"}}, tmp_path)
    assert error.message.startswith("diffusers.scheduler_type: 'ddim' is no sampler of this model; use one of ")
    error = refusal({"parameters": {"model": "flux"}, "diffusers": {"clip_skip": 1}}, tmp_path)
    assert error.message.startswith("diffusers.clip_skip: FluxPipeline")


def test_img2img_asks_for_a_model_that_changes_pictures(tmp_path: Path) -> None:
    miniatures.save_sana(tmp_path / "sana")

    assert "image" in load({"diffusers": {"img2img": True}})[1].modes
    error = refusal({"parameters": {"model": "sana"}, "diffusers": {"img2img": True}}, tmp_path)
    assert error.reason == "InvalidSpec"
    assert error.message.startswith("diffusers.img2img: SanaPipeline changes no pictures")


@pytest.mark.parametrize(
    "pipeline_type",
    [
        "StableDiffusionImg2ImgPipeline",
        "StableDiffusionInpaintPipeline",
        "AutoPipelineForText2Image",
        "diffusionPipeline",
    ],
)
def test_all_modes_are_served_whatever_class_is_named(tiny: DiffusersEngine, pipeline_type: str) -> None:
    engine, found = load({"diffusers": {"pipeline_type": pipeline_type}})

    assert set(found.modes) == {"text", "image", "inpaint"}
    assert difference(draw(engine)[0], draw(tiny)[0]) == 0


def test_half_precision_on_a_cpu_is_not_done(caplog: pytest.LogCaptureFixture, tiny: DiffusersEngine) -> None:
    with caplog.at_level(logging.WARNING):
        engine, found = load({"f16": True})

    assert found.dtype == "float32"
    assert any(message.startswith("f16:") for message in caplog.messages)
    assert difference(draw(engine)[0], draw(tiny)[0]) == 0


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

    assert difference(draw(engine)[0], draw(tiny)[0]) == 0


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
