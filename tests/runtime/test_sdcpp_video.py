"""Clips that stable-diffusion.cpp draws over HTTP, with one model and with a second one for high noise."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heliograph_runtime.engines.sdcpp.orders import Order, Pixels
from heliograph_runtime.engines.sdcpp.structures import clip_order
from pictures import draw
from runtime.clip_files import clips
from runtime.conftest import StartRuntime
from runtime.miniature_sdcpp_wan import save_taehv, save_wan
from runtime.picture_files import b64
from runtime.runtimes import Runtime

PICTURE = b64(draw("red", "circle", "white", size=64))
WAN: dict[str, Any] = {
    "parameters": {"model": "wan.gguf"},
    "options": ["taesd_path:taew2_1.safetensors"],
    "step": 1,
    "cfg_scale": 1,
}
SMALL: dict[str, Any] = {"prompt": "a red circle", "size": "32x32", "num_frames": 5, "seed": 3}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wan")
    save_wan(folder / "wan.gguf")
    save_wan(folder / "high_noise.gguf", seed=21)
    save_taehv(folder / "taew2_1.safetensors")
    return folder


@pytest.fixture(scope="module")
def wan(models: Path, start_runtime: StartRuntime) -> Runtime:
    return start_runtime({**WAN, "backend": "sdcpp"}, base={}, models_dir=models)


def film(runtime: Runtime, **fields: Any) -> str:
    """Return the one clip of an answer, in base64."""
    (item,) = runtime.post_to("/video", json={**SMALL, **fields}).json()["data"]
    found: str = item["b64_json"]
    return found


def test_text_becomes_a_clip(wan: Runtime) -> None:
    answer = wan.post_to("/video", json={**SMALL, "fps": 12, "n": 2})

    assert clips(answer) == [(5, (32, 32), 12.0)] * 2
    first, second = (item["b64_json"] for item in answer.json()["data"])
    assert first != second
    assert first == film(wan, fps=12)
    assert first != film(wan, fps=12, steps=2)


def test_sides_and_frames_are_those_that_the_model_can_draw(wan: Runtime) -> None:
    answer = wan.post_to("/video", json={**SMALL, "size": "40x20", "num_frames": 4})

    assert clips(answer) == [(5, (48, 16), 16.0)]


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"image": PICTURE}, "image"), ({"last_image": PICTURE}, "last_image"), ({"num_frames": 1000}, "num_frames")],
)
def test_what_the_model_cannot_film_is_refused(wan: Runtime, fields: dict[str, Any], param: str) -> None:
    answer = wan.post_to("/video", json={**SMALL, **fields})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_a_second_model_draws_the_first_steps(wan: Runtime, models: Path, start_runtime: StartRuntime) -> None:
    options = [*WAN["options"], "high_noise_diffusion_model_path:high_noise.gguf"]
    both = start_runtime({**WAN, "options": options}, base={}, models_dir=models)

    assert film(both, steps=2) != film(wan, steps=2)
    assert both.metric("steps_total") == 2
    assert film(both, steps=1) == film(wan, steps=1), "the last step is never the second model's"


def test_an_order_has_the_pictures_of_a_clip_and_the_steps_of_each_model() -> None:
    first, last = (Pixels(2, 2, 3, bytes([value] * 12)) for value in (1, 2))
    order = Order(
        "a", "", 32, 16, 5, 3.5, 7, frames=9, init_image=first, last_image=last, high_noise_steps=2, flow_shift=3.0
    )

    params, _kept = clip_order(order)

    assert (params.width, params.height, params.seed, params.video_frames) == (32, 16, 7, 9)
    assert (params.init_image.data[0], params.end_image.data[0]) == (1, 2)
    low, high = params.sample_params, params.high_noise_sample_params
    assert (low.sample_steps, high.sample_steps) == (3, 2)
    assert low.guidance.txt_cfg == high.guidance.txt_cfg == np.float32(3.5)
