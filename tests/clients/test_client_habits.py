"""One row for each habit of well-known clients: what they send is understood, and what they read is there."""

import io
import json
from typing import Any

import pytest
from PIL import Image

from clients.habits import EDITS, GENERATIONS, PROMPT, Habit
from clients.images import opened
from clients.stack import Stack
from pictures import draw
from runtime.picture_files import as_file

FILE = as_file(draw("red", "circle", "white", size=64))


def expect_pictures(stack: Stack, habit: Habit, answer: dict[str, Any]) -> None:
    pictures = [Image.open(io.BytesIO(file)) for file in habit.reads(stack, answer)]
    assert len(pictures) == int(habit.body.get("n", 1))
    assert {(picture.format, picture.size) for picture in pictures} == {(habit.file_format, habit.size)}
    # Dify keeps no picture without them.
    assert answer["usage"]["input_tokens_details"]["text_tokens"] == 0


@pytest.mark.parametrize("habit", GENERATIONS, ids=lambda habit: habit.client)
def test_a_generation_of(stack: Stack, habit: Habit) -> None:
    answer = stack.post("/v1/images/generations", json=habit.body, **habit.more)
    expect_pictures(stack, habit, answer.json())


@pytest.mark.parametrize("habit", EDITS, ids=lambda habit: habit.client)
def test_an_edit_of(stack: Stack, habit: Habit) -> None:
    files = [(name, ("image.png", FILE, "image/png")) for name in habit.files]
    fields = {name: str(value) for name, value in habit.body.items()}
    answer = stack.post("/v1/images/edits", data=fields, files=files, **habit.more)
    expect_pictures(stack, habit, answer.json())


def test_anythingllm_is_told_a_size_that_is_not_too_large(stack: Stack) -> None:
    answer = stack.client.post("/v1/images/generations", json={"model": "sd", "prompt": PROMPT, "size": "9000x9000"})
    assert answer.status_code == 400
    assert "2048x2048" in answer.json()["error"]["message"]


def test_home_assistant_lists_models_when_it_is_set_up(stack: Stack) -> None:
    assert "dall-e-3" in [model["id"] for model in stack.client.get("/v1/models", timeout=10).json()["data"]]


def test_sillytavern_as_it_speaks_to_stable_diffusion_cpp(stack: Stack) -> None:
    assert stack.client.options("/v1/images/generations").is_success
    assert stack.client.get("/v1/models").json()["data"]
    asked = {
        "prompt": PROMPT, "negative_prompt": "", "width": 512, "height": 256, "steps": 4, "cfg_scale": 7, "seed": -1,
        "batch_size": 1, "sampler_name": "euler_a", "scheduler": "karras", "clip_skip": -1,
    }  # fmt: skip
    (picture,) = stack.post("/sdapi/v1/txt2img", json=asked).json()["images"]
    assert opened(picture).size == (512, 256)


def test_librechats_stable_diffusion_tool(stack: Stack) -> None:
    """It writes the first of `infotexts` into the file."""
    asked = {
        "prompt": PROMPT, "negative_prompt": "blurry", "cfg_scale": 4.5, "steps": 4, "width": 512, "height": 512,
    }  # fmt: skip
    answer = stack.post("/sdapi/v1/txt2img", json=asked).json()
    (picture,) = answer["images"]
    assert opened(picture).size == (512, 512)
    info = json.loads(answer["info"])
    settings = f"Steps: 4, CFG scale: 4.5, Seed: {info['seed']}, Size: 512x512"
    assert info["infotexts"] == [f"{PROMPT}\nNegative prompt: blurry\n{settings}"]


def test_sillytavern_as_it_speaks_to_automatic1111(stack: Stack) -> None:
    client = stack.client
    assert client.get("/sdapi/v1/options").json()["sd_model_checkpoint"] == "sd"
    assert "tiny" in [model["title"] for model in client.get("/sdapi/v1/sd-models").json()]
    sampler, schedule = (client.get(f"/sdapi/v1/{names}").json()[0]["name"] for names in ("samplers", "schedulers"))
    stack.post("/sdapi/v1/options", json={"sd_model_checkpoint": "tiny"})
    progress = client.get("/sdapi/v1/progress").json()
    assert (progress["progress"], progress["state"]["job_count"]) == (0, 0)
    asked = {
        "prompt": PROMPT, "negative_prompt": "blurry", "sampler_name": sampler, "scheduler": schedule, "steps": 4,
        "cfg_scale": 7, "width": 64, "height": 128, "restore_faces": False, "enable_hr": False, "hr_upscaler": "Latent",
        "hr_scale": 2, "denoising_strength": 0.7, "hr_second_pass_steps": 0, "clip_skip": 1,
        "override_settings": {"CLIP_stop_at_last_layers": 1}, "override_settings_restore_afterwards": True,
        "save_images": True, "send_images": True, "do_not_save_grid": False, "do_not_save_samples": False,
    }  # fmt: skip
    try:
        (picture,) = stack.post("/sdapi/v1/txt2img", json=asked).json()["images"]
    finally:
        stack.post("/sdapi/v1/options", json={"sd_model_checkpoint": "sd"})
    assert opened(picture).size == (64, 128)


def test_open_webui_as_it_speaks_to_automatic1111(stack: Stack) -> None:
    assert stack.client.get("/sdapi/v1/options").is_success
    assert {"title", "model_name"} <= set(stack.client.get("/sdapi/v1/sd-models").json()[0])
    asked = {"prompt": PROMPT, "batch_size": 2, "width": 512, "height": 512, "steps": 4, "cfg_scale": 7.0}
    pictures = stack.post("/sdapi/v1/txt2img", json=asked).json()["images"]
    assert [opened(picture).size for picture in pictures] == [(512, 512)] * 2
