"""What stable-diffusion.cpp draws over HTTP. Its miniatures draw no thing: pictures are told apart, not recognised."""

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageChops

from heliograph_api.sampler_table import SAMPLERS, SCHEDULES
from pictures import draw as draw_true
from runtime import miniature_sdcpp
from runtime.conftest import StartRuntime
from runtime.event_lines import read_events
from runtime.picture_files import b64
from runtime.runtimes import Runtime, difference, pictures

UPSCALED = "upscale_model_path:upscaler.safetensors"
FLUX: dict[str, Any] = {
    "parameters": {"model": "flux.gguf"},
    "options": ["clip_l_path:clip_l.safetensors", "taesd_path:taef1.safetensors", UPSCALED],
    "lora_adapters": ["kohya.safetensors"],
    "lora_scales": [0],
    "step": 2,
}
SIZE = 64
PROMPT = "a red circle"
CIRCLE, STAR = (draw_true(colour, shape, "white", size=SIZE) for colour, shape in (("red", "circle"), ("blue", "star")))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdcpp")
    miniature_sdcpp.save_flux(folder)
    miniature_sdcpp.save_flux_lora(folder / "kohya.safetensors")
    miniature_sdcpp.save_upscaler(folder / "upscaler.safetensors")
    return folder


@pytest.fixture(scope="module")
def flux(models: Path, start_runtime: StartRuntime) -> Runtime:
    return start_runtime(FLUX, base={}, models_dir=models)


def drawn(runtime: Runtime, **fields: Any) -> Image.Image:
    (picture,) = runtime.draw(**{"prompt": PROMPT, "size": f"{SIZE}x{SIZE}", "seed": 1, **fields})
    return picture


def test_a_picture_has_its_size_and_is_not_flat(flux: Runtime) -> None:
    picture = drawn(flux, size="96x64")

    assert (picture.size, picture.mode) == ((96, 64), "RGB")
    assert np.asarray(picture).std() > 10


def test_the_seed_and_the_prompt_make_the_picture(flux: Runtime) -> None:
    first = drawn(flux)

    assert difference(drawn(flux), first) == 0
    assert difference(drawn(flux, seed=2), first) > 10
    assert difference(drawn(flux, prompt="two blue dogs on a hill"), first) > 10


def test_each_of_several_pictures_has_its_own_seed(flux: Runtime) -> None:
    response = flux.post(prompt=PROMPT, size=f"{SIZE}x{SIZE}", seed=1, n=2)

    first, second = pictures(response)
    assert [entry["seed"] for entry in response.json()["data"]] == [1, 2]
    assert difference(first, drawn(flux)) == 0
    assert difference(second, drawn(flux, seed=2)) == 0


def test_classifier_free_guidance_gives_the_negative_prompt_its_effect(flux: Runtime) -> None:
    guided = drawn(flux, cfg_scale=3.0)

    assert difference(guided, drawn(flux)) > 0
    assert difference(drawn(flux, true_cfg_scale=3.0), guided) == 0
    assert difference(drawn(flux, guidance=1.0), drawn(flux)) > 0, "the guidance that FLUX.1-dev was distilled with"
    assert difference(drawn(flux, true_cfg_scale=3.0, negative_prompt="a dog"), guided) > 0


@pytest.mark.parametrize("sampler", [row.name for row in SAMPLERS if row.sdcpp])
def test_every_sampler_of_the_table_draws(flux: Runtime, sampler: str) -> None:
    assert np.asarray(drawn(flux, sampler=sampler, steps=3)).std() > 1


@pytest.mark.parametrize("schedule", [row.name for row in SCHEDULES if row.sdcpp and row.name != "ays"])
@pytest.mark.parametrize("steps", [1, 3])
def test_every_schedule_of_the_table_draws(flux: Runtime, schedule: str, steps: int) -> None:
    assert np.asarray(drawn(flux, schedule=schedule, steps=steps)).std() > 1


@pytest.mark.parametrize(
    ("field", "value", "names"),
    [
        ("sampler", next(row.name for row in SAMPLERS if not row.sdcpp and row.diffusers), "euler_a, "),
        ("schedule", "beta", "discrete, karras, "),
        ("schedule", "ays", "discrete, karras, "),
    ],
)
def test_what_the_library_lacks_is_refused_with_what_it_has(flux: Runtime, field: str, value: str, names: str) -> None:
    error = flux.post(prompt=PROMPT, **{field: value}).json()["error"]

    assert error["param"] == field
    assert names in error["message"]


def test_a_picture_changes_with_the_strength(flux: Runtime) -> None:
    image = {"image": b64(CIRCLE), "steps": 8}
    weak, strong = (drawn_from(flux, strength=strength, **image) for strength in (0.25, 1.0))

    assert mean_difference(weak, CIRCLE) < mean_difference(strong, CIRCLE)


def test_the_strength_names_the_part_of_the_steps_that_is_taken(flux: Runtime) -> None:
    before = flux.metric("steps_total")
    drawn_from(flux, image=b64(CIRCLE), steps=4, strength=0.5)

    assert flux.metric("steps_total") - before == 2


def test_a_mask_keeps_what_is_outside_of_it(flux: Runtime) -> None:
    mask = Image.new("L", (SIZE, SIZE))
    mask.paste(255, (0, 0, SIZE // 2, SIZE))
    picture = drawn_from(flux, image=b64(CIRCLE), mask=b64(mask))

    changed = np.abs(np.asarray(picture, dtype=int) - np.asarray(CIRCLE, dtype=int)).max(axis=2)
    assert changed[:, SIZE // 2 :].max() == 0
    assert changed[:, : SIZE // 2].mean() > 10


def test_a_reference_picture_shows(flux: Runtime) -> None:
    first, other = (drawn_from(flux, ref_images=[b64(picture)]) for picture in (CIRCLE, STAR))

    assert difference(first, other) > 0
    assert difference(drawn_from(flux, ref_images=[b64(CIRCLE), b64(STAR)]), first) > 0


def test_adapters_are_weighed_by_field_and_by_tag(flux: Runtime) -> None:
    plain, adapted = drawn(flux), drawn(flux, lora=[{"id": 0, "scale": 1.0}])

    assert difference(adapted, plain) > 0
    assert difference(drawn(flux, prompt=f"{PROMPT}<lora:kohya:1>"), adapted) == 0
    assert difference(drawn(flux), plain) == 0, "an adapter is gone when no request asks for it"


@pytest.mark.parametrize("scale", [2, 4])
def test_the_upscaler_enlarges_a_picture(flux: Runtime, scale: int) -> None:
    response = flux.post_to("/v1/images/upscale", json={"image": b64(CIRCLE), "scale": scale})

    (large,) = pictures(response)
    assert large.size == (scale * SIZE, scale * SIZE)
    # The miniature turns colours round.
    assert mean_difference(large.resize((SIZE, SIZE)), ImageChops.invert(CIRCLE)) < 10


def test_progress_and_unfinished_pictures_are_streamed(flux: Runtime) -> None:
    response = flux.post(
        prompt=PROMPT, size=f"{SIZE}x{SIZE}", seed=1, steps=4, stream=True, stream_options={"preview": True}
    )

    *events, done = read_events(response.text.splitlines())
    assert done.get("data") == "[DONE]"
    entries = [event.data["data"][0] for event in events if not event.comments]
    assert entries[-1]["finish_reason"] == "stop"
    assert len([entry for entry in entries if entry.get("b64_json")]) > 1


@pytest.mark.parametrize("prompt", ["(cat:.)", f"(cat:{'9' * 400})", "a" * 8001, "\u732b" * 3000])
@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
def test_a_prompt_that_would_end_the_process_is_refused(flux: Runtime, field: str, prompt: str) -> None:
    worker = flux.worker.pid
    response = flux.post(**{"prompt": PROMPT, "true_cfg_scale": 2, "size": f"{SIZE}x{SIZE}", "seed": 1, field: prompt})

    assert response.status_code == 400, response.text
    assert response.json()["error"]["param"] == field
    assert flux.worker.pid == worker


@pytest.mark.parametrize("character", ["a", "(", "[", ":", "x\n", "1", "cat ", "\\(", "BREAK "])
def test_the_longest_prompts_are_read(flux: Runtime, character: str) -> None:
    assert drawn(flux, prompt=character * (8000 // len(character)), steps=1).size == (SIZE, SIZE)


def test_the_next_request_is_served_after_the_worker_was_killed(flux: Runtime) -> None:
    with ThreadPoolExecutor(1) as executor:
        answer = flux.start(executor, prompt=PROMPT, size=f"{SIZE}x{SIZE}", steps=500)
        flux.worker.send_signal(signal.SIGKILL)
        response = answer.result()

    assert response.status_code == 500
    assert response.json()["error"]["code"] == "worker_crashed"
    flux.wait_ready()
    assert difference(drawn(flux), drawn(flux)) == 0


def test_a_client_that_leaves_a_long_drawing_costs_no_more_than_a_load(flux: Runtime) -> None:
    worker = flux.worker.pid
    with flux.left(prompt=PROMPT, size="512x512", steps=500):
        pass
    drawn(flux)

    assert flux.worker.pid != worker
    assert flux.metric("batches_total", outcome="cancelled") == 1


def test_a_hanging_worker_is_replaced_when_its_request_is_late(models: Path, start_runtime: StartRuntime) -> None:
    runtime = start_runtime(FLUX, base={}, models_dir=models, request_timeout_seconds=8, cancel_grace_seconds=1)
    worker = runtime.worker
    worker.suspend()

    response = runtime.post(prompt=PROMPT, size=f"{SIZE}x{SIZE}")

    assert (response.status_code, response.json()["error"]["code"]) == (504, "deadline_exceeded")
    runtime.wait_ready()
    assert drawn(runtime).size == (SIZE, SIZE)
    assert runtime.worker.pid != worker.pid


def drawn_from(runtime: Runtime, **fields: Any) -> Image.Image:
    return runtime.edit(PROMPT, **{"size": f"{SIZE}x{SIZE}", "seed": 1, **fields})


def mean_difference(first: Image.Image, second: Image.Image) -> float:
    one, other = (np.asarray(image.convert("RGB"), dtype=int) for image in (first, second))
    return float(np.abs(one - other).mean())
