"""Clips over HTTP, from miniatures of the pipelines that draw them."""

from typing import Any

import httpx
import numpy as np
import pytest

from pictures import draw
from runtime.clip_files import clips, frames, probe
from runtime.conftest import StartRuntime
from runtime.event_lines import read_events
from runtime.miniature_videos import save_stable_video, save_text_to_video
from runtime.picture_files import as_file, b64
from runtime.runtimes import DRAWING_SECONDS, Runtime

PICTURE = draw("red", "circle", "white", size=64)


@pytest.fixture(scope="module")
def from_text(start_runtime: StartRuntime, tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    """A runtime of a model that draws clips from text."""
    folder = tmp_path_factory.mktemp("models")
    save_text_to_video(folder / "clips")
    spec = {"parameters": {"model": "clips"}, "step": 2, "diffusers": {"pipeline_type": "VideoDiffusionPipeline"}}
    return start_runtime(spec, models_dir=folder)


@pytest.fixture(scope="module")
def from_picture(start_runtime: StartRuntime, tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    """A runtime of a model that sets a picture in motion."""
    folder = tmp_path_factory.mktemp("models")
    save_stable_video(folder / "clips")
    spec = {
        "parameters": {"model": "clips"},
        "step": 2,
        "diffusers": {"pipeline_type": "StableVideoDiffusionPipeline"},
        # Its native size takes a minute on a CPU.
        "serving": {"limits": {"maxPixels": 16_384}},
    }
    return start_runtime(spec, models_dir=folder)


@pytest.mark.parametrize("path", ["/video", "/v1/images/generations", "/v1-openai/image/generate"])
def test_text_becomes_a_clip(from_text: Runtime, path: str) -> None:
    asked: dict[str, Any] = {"prompt": "a red circle", "size": "64x48", "num_frames": 5, "fps": 12, "seed": 3}
    answer = from_text.post_to(path, json={**asked, "n": 2})

    assert clips(answer) == [(5, (64, 48), 12.0)] * 2
    assert answer.json()["size"] == "64x48"
    assert ("id" in answer.json()) == (path == "/video")
    assert [item["seed"] for item in answer.json()["data"]] == [3, 4]
    first, second = (item["b64_json"] for item in answer.json()["data"])
    alone = from_text.post_to(path, json=asked).json()["data"][0]["b64_json"]
    # A bit that is rounded otherwise beside another clip makes the codec choose otherwise: 1.3 of 255 on average was
    # seen, and 35 between the two.
    assert difference(first, alone) < difference(first, second) / 10


def difference(one: str, other: str) -> float:
    return float(np.abs(frames(one) - frames(other)).mean())


def test_seconds_and_the_models_own_numbers(from_text: Runtime) -> None:
    small: dict[str, Any] = {"prompt": "a red circle", "size": "16x16"}
    (own,) = clips(from_text.post_to("/video", json=small))
    (second,) = clips(from_text.post_to("/video", json={**small, "seconds": "1"}))

    assert own[0] > 1
    assert second[0] == second[2] == own[2]


def test_a_picture_is_set_in_motion_without_a_prompt(from_picture: Runtime) -> None:
    """The documented request: a picture, and no prompt."""
    json_answer = from_picture.post(file=b64(PICTURE), seed=1, size="64x64", num_frames=3)
    form_answer = from_picture.post_to(
        "/video",
        data={"prompt": "", "seed": "1", "size": "64x64", "num_frames": "3"},
        files={"input_reference": ("a", as_file(PICTURE))},
    )

    assert clips(json_answer) == [(3, (64, 64), clips(json_answer)[0][2])]
    assert json_answer.json()["data"] == form_answer.json()["data"]


def test_a_clip_keeps_the_pictures_aspect(from_picture: Runtime) -> None:
    upright = PICTURE.resize((32, 64))

    answer = from_picture.post_to("/video", json={"image": b64(upright), "num_frames": 2, "steps": 1})

    ((_, (width, height), _),) = clips(answer)
    assert height > 1.8 * width
    assert answer.json()["size"] == f"{width}x{height}"


@pytest.mark.parametrize("stream_format", ["openai", "image.chunk"])
def test_a_stream_ends_with_the_clip(from_text: Runtime, stream_format: str) -> None:
    body = {
        "prompt": "a red circle", "size": "16x16", "num_frames": 3, "fps": 6, "seed": 1, "steps": 4,
        "stream": True, "stream_format": stream_format, "partial_images": 2,
    }  # fmt: skip
    url = f"{from_text.url}/video"
    with httpx.stream("POST", url, json=body, timeout=DRAWING_SECONDS, trust_env=False) as response:
        events = read_events(response.iter_lines())

    assert response.status_code == 200
    found = [event.data for event in events if event.get("data") not in {None, "[DONE]"}]
    entries = [entry for event in found for entry in event.get("data", [event]) if "b64_json" in entry]
    assert [(entry["mime_type"], entry["seed"]) for entry in entries] == [("video/mp4", 1)]
    assert (entries[0]["size"], entries[0]["seconds"]) == ("16x16", "0.5")
    assert probe(entries[0]["b64_json"])[:2] == (3, (16, 16))


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"num_frames": 1024}, "num_frames", "invalid_value"),
        ({"seconds": 60, "fps": 60}, "seconds", "invalid_value"),
        ({"num_frames": 0}, "num_frames", "invalid_value"),
        ({"last_image": b64(PICTURE)}, "last_image", "unsupported"),
        ({"image": b64(PICTURE)}, "image", "unsupported"),
        ({"prompt": ""}, "prompt", "invalid_value"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(
    from_text: Runtime, body: dict[str, Any], param: str, code: str
) -> None:
    answer = from_text.post_to("/video", json={"prompt": "a red circle", **body})

    assert answer.status_code == 400
    assert (answer.json()["error"]["param"], answer.json()["error"]["code"]) == (param, code)


def test_a_picture_is_needed_where_there_is_no_text(from_picture: Runtime) -> None:
    answer = from_picture.post_to("/video", json={"prompt": "a red circle"})

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "image"
