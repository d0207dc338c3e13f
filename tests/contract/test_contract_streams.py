"""Streams: which dialect a request gets, and what the events of each say."""

from base64 import b64encode
from typing import Any

import pytest

from contract.spellings import form_parts
from contract.stack import EDITS, GENERATIONS, SMALL, Model, Part, decoded, events, refusal, succeeded
from pictures import draw
from runtime.picture_files import as_file, b64

CIRCLE = draw("red", "circle", "white")
ASKED: dict[str, Any] = {"prompt": "a blue star", "seed": 3, **SMALL, "stream": True}
USAGE: dict[str, Any] = {"stream_options": {"include_usage": True}}
TIMINGS = {"time_to_process_ms", "time_per_generation_ms", "generation_per_second"}


def kind(event: dict[str, Any]) -> str:
    """Return the type of OpenAI's events, else that of an entry of GPUStack's."""
    return str(event["type"]) if "type" in event else str(event["data"][0]["object"])


def chunks(model: Model, path: str = "/v1-openai/images/generations", **fields: Any) -> list[dict[str, Any]]:
    return events(model.post(path, **{**ASKED, **fields}))


@pytest.mark.parametrize(
    ("path", "fields", "expected"),
    [
        (GENERATIONS, {}, "image_generation.completed"),
        ("/images/generations", {}, "image_generation.completed"),
        ("/v1/image/generate", {}, "image_generation.completed"),
        (EDITS, {"image": b64(CIRCLE)}, "image_edit.completed"),
        ("/v1/images/variations", {"image": b64(CIRCLE)}, "image_edit.completed"),
        ("/v1/images/upscale", {"image": b64(CIRCLE)}, "image_edit.completed"),
        ("/v1-openai/images/generations", {}, "image.chunk"),
        ("/v1-openai/image/generate", {}, "image.chunk"),
        ("/v1-openai/image/edit", {"image": b64(CIRCLE)}, "image.chunk"),
        ("/v1-openai/images/upscale", {"image": b64(CIRCLE)}, "image.chunk"),
        (GENERATIONS, USAGE, "image.chunk"),
        (GENERATIONS, {"stream_options_include_usage": "true"}, "image.chunk"),
        (GENERATIONS, {**USAGE, "partial_images": 0}, "image_generation.completed"),
        (GENERATIONS, {**USAGE, "stream_format": "openai"}, "image_generation.completed"),
        ("/v1-openai/images/generations", {"stream_format": "openai"}, "image_generation.completed"),
        (GENERATIONS, {"stream_format": "image.chunk"}, "image.chunk"),
    ],
)
def test_the_dialect(plain: Model, path: str, fields: dict[str, Any], expected: str) -> None:
    """Never JSON: clients that asked for a stream would see no event in it, and no error."""
    response = plain.post(path, **ASKED, **fields)
    *_, last = events(response)

    assert kind(last) == expected
    # What OpenAI's clients never send is all that GPUStack's wait for at the end.
    assert response.text.endswith("data: [DONE]\n\n") == (expected == "image.chunk")


@pytest.mark.parametrize(("accept", "stream"), [("application/json", True), ("text/event-stream", False)])
def test_what_a_client_accepts_does_not_decide(plain: Model, accept: str, stream: bool) -> None:
    """OpenAI's clients accept JSON alone when they want events."""
    response = plain.client.post(GENERATIONS, json={**ASKED, "stream": stream}, headers={"accept": accept})

    kind = "text/event-stream" if stream else "application/json"
    assert succeeded(response).headers["content-type"].startswith(kind)


def test_openais_events(plain: Model) -> None:
    response = plain.post(**{**ASKED, "steps": 4}, partial_images=2, quality="low")
    told = events(response)
    *partials, last = told
    still = plain.file(**{**ASKED, "steps": 4, "stream": False})

    names = [line.removeprefix("event: ") for line in response.text.splitlines() if line.startswith("event: ")]
    assert names == [event["type"] for event in told]
    assert [event["type"] for event in partials] == ["image_generation.partial_image"] * 2
    assert [event["partial_image_index"] for event in partials] == [0, 1]
    for event in told:
        assert decoded(event).size == (32, 32)
        assert (event["size"], event["quality"], event["output_format"]) == ("32x32", "low", "png")
        assert (event["background"], event["index"]) == ("opaque", 0)
        assert isinstance(event["created_at"], int)
    assert {still, *(event["b64_json"] for event in partials)} >= {last["b64_json"]}
    assert last["b64_json"] == still
    assert last["seed"] == 3
    assert last["usage"]["input_tokens_details"] == {"text_tokens": 0, "image_tokens": 0}
    assert last["usage"].keys() >= TIMINGS


@pytest.mark.parametrize(("wanted", "count"), [(None, 0), (0, 0), (1, 1), (3, 3)])
def test_as_many_partial_images_as_are_wanted(plain: Model, wanted: int | None, count: int) -> None:
    """As long as there are as many steps before the last."""
    told = events(plain.post(**{**ASKED, "steps": 5}, n=2, partial_images=wanted))

    for index in (0, 1):
        kinds = [event["type"] for event in told if event["index"] == index]
        assert kinds == ["image_generation.partial_image"] * count + ["image_generation.completed"]


def test_gpustacks_chunks(plain: Model) -> None:
    told = chunks(plain, n=2, steps=3, **USAGE)
    still = plain.answer(**{**ASKED, "n": 2, "steps": 3, "stream": False})["data"]

    for chunk in told:
        assert chunk["object"] == "list"
        assert isinstance(chunk["created"], int)
        (entry,) = chunk["data"]
        assert entry["object"] == "image.chunk"
    for index in (0, 1):
        entries = [chunk["data"][0] for chunk in told if chunk["data"][0]["index"] == index]
        assert [entry["progress"] for entry in entries] == sorted(entry["progress"] for entry in entries)
        assert [entry["finish_reason"] for entry in entries] == [None] * (len(entries) - 1) + ["stop"]
        assert all("b64_json" not in entry and entry["progress"] < 100 for entry in entries[:-1])
        assert entries[-1]["progress"] == 100
        assert entries[-1]["b64_json"] == still[index]["b64_json"]
    *before, last = told
    assert [chunk["usage"] for chunk in before] == [None] * len(before)
    assert last["usage"].keys() >= TIMINGS


@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": False}}], ids=str)
def test_no_usage_unless_it_is_wanted(plain: Model, options: dict[str, Any]) -> None:
    assert {chunk["usage"] for chunk in chunks(plain, **options)} == {None}


@pytest.mark.parametrize("name", ["preview", "preview_faster"])
def test_previews(plain: Model, name: str) -> None:
    """Told from the picture itself by their progress and by `finish_reason`."""
    told = chunks(plain, steps=4, stream_options={name: True})
    shown = [chunk["data"][0] for chunk in told if "b64_json" in chunk["data"][0]]

    assert len(shown) > 1
    assert [entry["finish_reason"] for entry in shown] == [None] * (len(shown) - 1) + ["stop"]
    assert all(decoded(entry).size == (32, 32) for entry in shown)


def test_a_picture_in_pieces(plain: Model) -> None:
    size = 1024
    asked = {"size": "96x96"}
    told = chunks(plain, **asked, stream_options={"chunk_result": True, "chunk_size": size})
    pieces = [chunk["data"][0] for chunk in told if "b64_json" in chunk["data"][0]]

    assert len(pieces) > 1
    assert all(len(piece["b64_json"]) <= size for piece in pieces)
    assert [piece["finish_reason"] for piece in pieces] == [None] * (len(pieces) - 1) + ["stop"]
    assert "".join(piece["b64_json"] for piece in pieces) == plain.file(**{**ASKED, **asked, "stream": False})


def test_chunks_may_end_in_a_link(plain: Model) -> None:
    *_, last = chunks(plain, response_format="url")
    (entry,) = last["data"]

    assert "b64_json" not in entry
    file = succeeded(plain.client.get(entry["url"])).content
    assert b64encode(file).decode() == plain.file(**{**ASKED, "stream": False})


def test_a_form_streams_as_well(plain: Model) -> None:
    """GPUStack's edits are forms, whose options are fields of their own."""
    asked: dict[str, Any] = {**ASKED, "steps": 4, "stream_options_include_usage": "true"}
    parts: list[tuple[str, Part]] = [*form_parts(asked), ("image", ("a.png", as_file(CIRCLE)))]
    *_, last = events(plain.post_form("/v1-openai/image/edit", parts))

    still = plain.file(EDITS, **{**ASKED, "steps": 4, "stream": False}, image=b64(CIRCLE))
    assert last["data"][0]["b64_json"] == still
    assert last["usage"].keys() >= TIMINGS


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        (EDITS, {"image": b64(CIRCLE)[:400]}, "image"),
        ("/v1-openai/image/edit", {"image": b64(CIRCLE)[:400]}, "image"),
        ("/v1-openai/image/edit", {"image": "no picture"}, "image"),
        (GENERATIONS, {"sampler": "zigzag"}, "sampler"),
        (GENERATIONS, {"size": "9999x9999"}, "size"),
        (GENERATIONS, {"partial_images": 4}, "partial_images"),
        (GENERATIONS, {"stream_format": "lines"}, "stream_format"),
        (GENERATIONS, {"stream_options": [1]}, "stream_options"),
        (GENERATIONS, {"stream_options": {"chunk_size": 1}}, "chunk_size"),
    ],
)
def test_an_error_before_the_first_event_has_a_status(
    plain: Model, path: str, fields: dict[str, Any], param: str
) -> None:
    response = plain.post(path, **{**ASKED, **fields})

    assert refusal(response)["param"] == param
    assert response.headers["content-type"] == "application/json"
