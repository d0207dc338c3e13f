"""Stable Diffusion 1 with stable-diffusion.cpp over HTTP: one checkpoint, a ControlNet, an adapter, a tiny VAE."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from heliograph_api.spec import parse_spec
from heliograph_runtime.engines.sdcpp.checking import check_model
from heliograph_runtime.engines.sdcpp.estimate import estimate
from pictures import draw as draw_true
from runtime import miniature_sdcpp, miniature_sdcpp_unets
from runtime.conftest import StartRuntime
from runtime.picture_files import b64
from runtime.runtimes import Runtime, difference
from runtime.sdcpp_measuring import measure

SD1: dict[str, Any] = {
    "backend": "stablediffusion-ggml",
    "parameters": {"model": "sd1.safetensors"},
    "options": ["taesd_path:taesd.safetensors", "control_net_path:control.safetensors", "lora_dir:loras"],
    "step": 2,
    "cfg_scale": 4,
}
SIZE = 64
PROMPT = "a red circle"
CIRCLE, STAR = (draw_true(colour, shape, "white", size=SIZE) for colour, shape in (("red", "circle"), ("blue", "star")))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sd1")
    miniature_sdcpp_unets.save_sd1(folder)
    miniature_sdcpp_unets.save_sd1_controlnet(folder / "control.safetensors")
    miniature_sdcpp.save_taesd(folder / "taesd.safetensors", miniature_sdcpp.SD_LATENT_CHANNELS)
    (folder / "loras").mkdir()
    miniature_sdcpp_unets.save_sd1_lora(folder / "loras" / "style.safetensors")
    return folder


@pytest.fixture(scope="module")
def sd1(models: Path, start_runtime: StartRuntime) -> Runtime:
    return start_runtime(SD1, base={}, models_dir=models)


def drawn(runtime: Runtime, **fields: Any) -> Image.Image:
    (picture,) = runtime.draw(**{"prompt": PROMPT, "size": f"{SIZE}x{SIZE}", "seed": 1, **fields})
    return picture


def test_seed_prompt_guidance_and_negative_prompt_make_the_picture(sd1: Runtime) -> None:
    first = drawn(sd1)

    assert np.asarray(first).std() > 10
    assert difference(drawn(sd1), first) == 0
    for changed in ({"seed": 2}, {"prompt": "two blue dogs"}, {"cfg_scale": 1.5}, {"negative_prompt": "a dog"}):
        assert difference(drawn(sd1, **changed), first) > 0, changed


def test_layers_of_clip_can_be_skipped(sd1: Runtime) -> None:
    first = drawn(sd1)

    assert difference(drawn(sd1, clip_skip=1), first) > 0
    assert sd1.post(prompt=PROMPT, clip_skip=12).json()["error"]["param"] == "clip_skip"


@pytest.mark.parametrize("steps", [1, 4])
def test_align_your_steps_is_served_where_it_was_worked_out(sd1: Runtime, steps: int) -> None:
    assert np.asarray(drawn(sd1, schedule="ays", steps=steps)).std() > 1


def test_the_control_image_leads(sd1: Runtime) -> None:
    free, circle, star = drawn(sd1), *(drawn(sd1, control_image=b64(image)) for image in (CIRCLE, STAR))

    assert difference(circle, free) > 0
    assert difference(circle, star) > 0
    assert difference(drawn(sd1, control_image=b64(CIRCLE), control_strength=0.3), circle) > 0


def test_an_adapter_of_the_folder_is_named_by_a_tag(sd1: Runtime) -> None:
    plain = drawn(sd1)

    assert difference(drawn(sd1, prompt=f"{PROMPT} <lora:style:1>"), plain) > 0
    assert difference(drawn(sd1), plain) == 0
    assert sd1.post(prompt=f"{PROMPT} <lora:other:1>").json()["error"]["param"] == "prompt"


def test_sides_are_multiples_of_64(sd1: Runtime) -> None:
    assert drawn(sd1, size="100x60").size == (128, 64)


def test_a_picture_is_changed_and_painted_into(sd1: Runtime) -> None:
    mask = Image.new("L", (SIZE, SIZE))
    mask.paste(255, (0, 0, SIZE // 2, SIZE))
    fields: dict[str, Any] = {"size": f"{SIZE}x{SIZE}", "seed": 1, "steps": 6, "image": b64(CIRCLE)}

    assert difference(sd1.edit(PROMPT, **fields, strength=0.6), sd1.edit(PROMPT, **fields, strength=1.0)) > 0
    painted = np.asarray(sd1.edit(PROMPT, **fields, mask=b64(mask)), dtype=int)
    changed = np.abs(painted - np.asarray(CIRCLE, dtype=int)).max(axis=2)
    assert changed[:, SIZE // 2 :].max() == 0
    assert changed[:, : SIZE // 2].mean() > 5


@pytest.mark.parametrize(("wtype", "size", "threads"), [(None, 256, 2), ("q4_0", 64, 8)])
def test_the_estimate_is_what_loading_and_drawing_take(
    models: Path, wtype: str | None, size: int, threads: int
) -> None:
    options = [f"n_threads:{threads}", *([f"wtype:{wtype}"] if wtype else [])]
    spec = {"backend": "sdcpp", "parameters": {"model": "sd1.safetensors"}, "options": options}
    checked = check_model(parse_spec(spec), models_dir=models)
    told = estimate(checked.headers, checked.family, width=size, height=size, wtype=wtype, threads=threads)

    taken = measure(spec, models, size=size, guidance_scale=checked.family.defaults.cfg_scale).memory

    assert told.ram_bytes == pytest.approx(taken, rel=0.15)
