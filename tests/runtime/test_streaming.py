"""Both dialects of events over HTTP, from the real application and a worker that does as it is told."""

import base64
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from PIL import Image

from cluster.waiting import eventually
from heliograph_api.usage import Usage, usage_comment
from pictures import Content, classify
from runtime.event_lines import Event, read_events
from runtime.picture_files import as_file, b64, quarters
from runtime.runtimes import Runtime
from runtime.scripted_runtime import ScriptedRuntime, scripted_runtime
from runtime.scripted_worker import DEADLY, ODD, SLOW

PATH = "/v1/images/generations"


@pytest.fixture(scope="module")
def scripted() -> Iterator[ScriptedRuntime]:
    with scripted_runtime() as running:
        yield running


def stream(running: ScriptedRuntime, path: str = PATH, **body: Any) -> tuple[httpx.Response, list[Event]]:
    """Return an answer and its events."""
    with running.client.stream("POST", path, json={"prompt": "a", "seed": 1, "stream": True, **body}) as response:
        return response, read_events(response.iter_lines())


@contextmanager
def working(running: ScriptedRuntime) -> Iterator[httpx.Response]:
    """A stream that goes on until it is left."""
    body = {"prompt": SLOW, "steps": 1000, "stream": True}
    with running.client.stream("POST", PATH, json=body) as response:
        lines = response.iter_lines()
        assert next(lines).startswith(": image 0 step")
        yield response


def picture(b64_json: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(b64_json)))


def data(events: list[Event]) -> list[Any]:
    return [event.data for event in events if event.get("data") not in {None, "[DONE]"}]


def test_openais_events(scripted: ScriptedRuntime) -> None:
    response, events = stream(scripted, steps=8, partial_images=3, size="24x16", quality="low")

    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache, no-transform"
    assert response.headers["x-accel-buffering"] == "no"
    told = [event for event in events if event.fields]
    assert [event.get("event") for event in told] == [
        *["image_generation.partial_image"] * 3,
        "image_generation.completed",
    ]
    assert all(event.get("event") == event.data["type"] for event in told)
    assert [event.data["partial_image_index"] for event in told[:3]] == [0, 1, 2]
    # The scripted pictures are as bright as their seed and the step that they are of.
    assert [picture(event.data["b64_json"]).getpixel((0, 0)) for event in told] == [
        (brightness,) * 3 for brightness in (3, 5, 7, 1)
    ]
    last = told[-1].data
    assert picture(last["b64_json"]).size == (24, 16)
    assert {name: last[name] for name in ("size", "quality", "background", "output_format", "seed", "index")} == {
        "size": "24x16", "quality": "low", "background": "opaque", "output_format": "png", "seed": 1, "index": 0,
    }  # fmt: skip
    assert last["usage"]["steps"] == 8


def test_the_chunks_that_gpustack_documents(scripted: ScriptedRuntime) -> None:
    options = {"include_usage": True, "preview": True, "chunk_result": True, "chunk_size": 1024}
    _, events = stream(scripted, steps=20, size="64x64", seed=200, n=2, stream_options=options, output_format="webp")

    assert all(event.get("event") is None for event in events)
    assert events[-1].get("data") == "[DONE]"
    chunks = data(events)
    assert {(chunk["object"], chunk["model"]) for chunk in chunks} == {("list", "tiny")}
    entries = [chunk["data"][0] for chunk in chunks]
    assert {entry["object"] for entry in entries} == {"image.chunk"}
    for index in (0, 1):
        mine = [entry for entry in entries if entry["index"] == index]
        progress = [entry["progress"] for entry in mine]
        assert progress == sorted(progress)
        assert [entry["finish_reason"] for entry in mine] == [None] * (len(mine) - 1) + ["stop"]
        assert mine[-1]["seed"] == 200 + index
        whole = "".join(entry.get("b64_json", "") for entry in mine if entry["progress"] == 100)
        assert picture(whole).size == (64, 64)
        previews = [entry for entry in mine if "b64_json" in entry and entry["progress"] < 100]
        assert 0 < len(previews) <= 8
    assert [chunk["usage"] is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
    assert chunks[-1]["usage"]["images"] == 2


@pytest.mark.parametrize("path", ["/v1-openai/image/generate", "/v1-openai/images/generations"])
def test_gpustacks_paths_have_gpustacks_events(scripted: ScriptedRuntime, path: str) -> None:
    _, events = stream(scripted, path)

    assert events[-1].get("data") == "[DONE]"
    assert data(events)[-1]["usage"] is None


def test_edits_have_events_of_their_own(scripted: ScriptedRuntime) -> None:
    _, events = stream(scripted, "/v1/images/edits", image=b64(quarters()), size="64x64")

    assert events[-1].get("event") == "image_edit.completed"


def test_an_enlargement_that_takes_no_time_is_an_event_too(scripted: ScriptedRuntime) -> None:
    _, events = stream(scripted, "/v1/images/upscale", image=b64(quarters()), scale=3)

    (event,) = [event for event in events if event.fields]
    assert event.get("event") == "image_edit.completed"
    assert picture(event.data["b64_json"]).size == (192, 192)


def test_no_previews_where_nobody_asked(scripted: ScriptedRuntime) -> None:
    for path, body in ((PATH, {}), (PATH, {"partial_images": 0}), (PATH, {"stream_options": {"include_usage": True}})):
        _, events = stream(scripted, path, steps=20, **body)
        found = [entry for chunk in data(events) for entry in chunk.get("data", [chunk]) if "b64_json" in entry]
        assert len(found) == 1


def test_one_step_leaves_nothing_to_preview(scripted: ScriptedRuntime) -> None:
    _, events = stream(scripted, steps=1, partial_images=3)

    assert [event.get("event") for event in events if event.fields] == ["image_generation.completed"]


@pytest.mark.parametrize("stream_format", ["openai", "image.chunk"])
@pytest.mark.parametrize(("body", "status"), [({"size": "large"}, 400), ({"clip_skip": 1}, 400), ({"n": 11}, 400)])
def test_a_request_that_cannot_be_served_has_a_status_of_its_own(
    scripted: ScriptedRuntime, stream_format: str, body: dict[str, Any], status: int
) -> None:
    answer = scripted.post(prompt="a", stream=True, stream_format=stream_format, **body)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"]["param"] == next(iter(body))


def test_an_illegal_picture_is_refused_before_the_stream(scripted: ScriptedRuntime) -> None:
    cut = base64.b64encode(as_file(quarters())[:60]).decode()
    answer = scripted.post("/v1-openai/image/edit", prompt="a", image=cut, stream=True)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_image"
    assert answer.json()["error"]["message"].startswith("image: Invalid image")


def test_a_full_queue_has_a_status_of_its_own() -> None:
    with scripted_runtime(max_queue=1) as running:
        with working(running):
            second = running.post(prompt="a", stream=True)
        running.wait_idle()

    assert second.status_code == 429
    assert second.headers["retry-after"] == "5"


@pytest.mark.parametrize("stream_format", ["openai", "image.chunk"])
@pytest.mark.parametrize(("prompt", "code"), [(ODD, "generation_failed"), (DEADLY, "worker_crashed")])
def test_a_failure_in_mid_stream_is_an_event(
    scripted: ScriptedRuntime, stream_format: str, prompt: str, code: str
) -> None:
    failed = scripted.requests("failed")

    response, events = stream(scripted, prompt=prompt, stream_format=stream_format)

    eventually(lambda: scripted.service.supervisor.unready is None, what="a worker")
    assert response.status_code == 200
    last = events[-1]
    assert last.get("event") == "error"
    assert last.data["type"] == "error"
    assert last.data["error"]["code"] == code
    literal = last.get("error")
    if stream_format == "openai":
        assert literal is None
    else:
        assert literal is not None
        assert json.loads(literal)["code"] == 500
    eventually(lambda: scripted.requests("failed") == failed + 1, what="the failed request in the metrics")


def test_a_failure_in_mid_stream_tells_that_nothing_was_brought(scripted: ScriptedRuntime) -> None:
    response = scripted.client.post(PATH, json={"prompt": ODD, "seed": 1, "stream": True})
    assert usage_comment(Usage()) + b"event: error\n" in response.content


def test_a_bug_in_mid_stream_is_told_without_its_details(
    scripted: ScriptedRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> bytes:
        raise KeyError("a secret")

    monkeypatch.setattr("heliograph_runtime.images.prepared.encode_picture", fail)
    _, events = stream(scripted)

    assert events[-1].data["error"]["code"] == "internal_error"
    assert "secret" not in str(events)


def test_silence_is_filled_with_comments(scripted: ScriptedRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    """The headers go out with the first of them, so that the connection is seen to live while the request waits."""
    waiting = {"prompt": "a", "seed": 1, "stream": True, "stream_format": "image.chunk", "steps": 1}
    with working(scripted) as first:
        monkeypatch.setattr("heliograph_runtime.images.streaming._HEARTBEAT_SECONDS", 0.05)
        with scripted.client.stream("POST", PATH, json=waiting) as second:
            lines = second.iter_lines()
            silent = [next(lines) for _ in range(4)]
            first.close()
            events = read_events(lines)
    scripted.wait_idle()

    assert silent == [": still at work", "", ": still at work", ""]
    assert events[-1].get("data") == "[DONE]"


def test_a_client_that_leaves_takes_its_work_along(scripted: ScriptedRuntime) -> None:
    cancelled = scripted.requests("cancelled")

    with working(scripted):
        pass

    scripted.wait_idle()
    eventually(lambda: scripted.requests("cancelled") == cancelled + 1, what="the cancelled request in the metrics")
    assert scripted.post(prompt="a").status_code == 200


def test_openais_client_reads_the_events(scripted: ScriptedRuntime) -> None:
    client = openai.OpenAI(base_url=f"{scripted.url}/v1", api_key="none", max_retries=0)
    asked: dict[str, Any] = {"partial_images": 2, "extra_body": {"seed": 1}}
    with client, client.images.generate(prompt="a", model="tiny", stream=True, **asked) as events:
        found = list(events)

    assert [event.type for event in found] == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    assert all(picture(event.b64_json or "").size == (8, 8) for event in found)


@pytest.mark.parametrize("dialect", ["openai", "image.chunk"])
def test_openais_client_raises_what_fails_in_mid_stream(scripted: ScriptedRuntime, dialect: str) -> None:
    client = openai.OpenAI(base_url=f"{scripted.url}/v1", api_key="none", max_retries=0)
    extra = {"stream_format": dialect}
    with client, pytest.raises(openai.APIError, match="failed to draw") as caught:
        list(client.images.generate(prompt=ODD, model="tiny", stream=True, extra_body=extra))

    assert caught.value.code == "generation_failed"


def test_unfinished_pictures_come_closer_to_the_finished_one(runtime: Runtime) -> None:
    """With a model that really draws."""
    body = {"prompt": "a red circle on a white background", "seed": 1, "stream": True, "partial_images": 3}
    with httpx.stream("POST", f"{runtime.url}{PATH}", json=body, timeout=240, trust_env=False) as response:
        *previews, last = [picture(event["b64_json"]) for event in data(read_events(response.iter_lines()))]

    assert classify(last) == Content("red", "circle", "white")
    assert len(previews) == 3
    final = np.asarray(last.convert("RGB"), dtype=float)
    distances = [
        np.abs(np.asarray(preview.convert("RGB").resize(last.size), dtype=float) - final).mean() for preview in previews
    ]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < distances[0] / 2
