"""Server-sent events of both dialects, read by the rules of the HTML standard."""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from heliograph_api.errors import APIError
from heliograph_api.images.request import ImageRequest
from heliograph_api.images.stream_options import Stream
from heliograph_api.images.streams import EventStream, error_event, event_stream

BARE = ImageRequest("generate", ("a cat",), (None,))
USAGE = {"total_tokens": 0}


def stream(wanted: Stream, *, count: int = 1, **fields: Any) -> EventStream:
    request = replace(BARE, stream=wanted, **fields)
    return event_stream(request, created=7, model="tiny", size="64x64", file_format="png", count=count)


def events(blocks: Iterable[bytes]) -> list[dict[str, str]]:
    """Return the fields of each event; an event of comments alone has none."""
    text = b"".join(blocks).decode()
    assert text.endswith("\n\n")
    found = [[line.partition(": ") for line in block.split("\n")] for block in text[:-2].split("\n\n")]
    return [{name: value for name, _, value in lines if name} for lines in found]


def data(event: dict[str, str]) -> Any:
    return json.loads(event["data"])


@pytest.mark.parametrize(
    ("operation", "kind"), [("generate", "image_generation"), ("video", "image_generation"), ("edit", "image_edit")]
)
def test_openais_events(operation: Any, kind: str) -> None:
    writer = stream(Stream("openai", partial_images=1), operation=operation)
    progress, partial, completed = events(
        [
            writer.progress(0, 1, 2),
            writer.partial(0, 0, 1, 2, "QQ=="),
            *writer.finished(0, {"b64_json": "Qg==", "seed": 5}, usage=USAGE),
            writer.end(),
        ]
    )
    about = {
        "created_at": 7, "size": "64x64", "quality": "high", "background": "opaque", "output_format": "png", "index": 0,
    }  # fmt: skip
    assert progress == {}
    assert partial["event"] == f"{kind}.partial_image"
    assert data(partial) == about | {"type": partial["event"], "b64_json": "QQ==", "partial_image_index": 0}
    assert completed["event"] == f"{kind}.completed"
    assert data(completed) == about | {"type": completed["event"], "b64_json": "Qg==", "seed": 5, "usage": USAGE}


def test_chunks_end_with_the_usage_of_the_last_picture() -> None:
    writer = stream(Stream("image.chunk", include_usage=True), count=2)
    *chunks, end = events(
        [
            writer.progress(0, 1, 3),
            writer.partial(1, 0, 2, 3, "QQ=="),
            *writer.finished(1, {"b64_json": "Qg==", "seed": 6}, usage=USAGE),
            *writer.finished(0, {"url": "http://host/a.png", "seed": 5}, usage=USAGE),
            writer.end(),
        ]
    )
    assert end == {"data": "[DONE]"}
    read = [data(chunk) for chunk in chunks]
    assert all(chunk | {"data": None, "usage": None} == {
        "created": 7, "model": "tiny", "object": "list", "data": None, "usage": None,
    } for chunk in read)  # fmt: skip
    assert [chunk["usage"] for chunk in read] == [None, None, None, USAGE]
    assert [chunk["data"] for chunk in read] == [
        [{"index": 0, "object": "image.chunk", "progress": 25.0, "progressed_steps": 1, "progress_steps": 3,
          "finish_reason": None}],
        [{"index": 1, "object": "image.chunk", "progress": 50.0, "progressed_steps": 2, "progress_steps": 3,
          "b64_json": "QQ==", "finish_reason": None}],
        [{"index": 1, "object": "image.chunk", "progress": 100.0, "b64_json": "Qg==", "seed": 6,
          "finish_reason": "stop"}],
        [{"index": 0, "object": "image.chunk", "progress": 100.0, "url": "http://host/a.png", "seed": 5,
          "finish_reason": "stop"}],
    ]  # fmt: skip


def test_the_usage_is_told_only_if_it_is_wanted() -> None:
    writer = stream(Stream("image.chunk"))
    (chunk,) = events(writer.finished(0, {"b64_json": "QQ=="}, usage=USAGE))
    assert data(chunk)["usage"] is None


def test_a_picture_may_come_in_pieces() -> None:
    writer = stream(Stream("image.chunk", chunk_size=4, include_usage=True))
    chunks = [data(event) for event in events(writer.finished(0, {"b64_json": "AAAABBBBCC==", "seed": 1}, usage=USAGE))]
    assert [chunk["data"][0]["b64_json"] for chunk in chunks] == ["AAAA", "BBBB", "CC=="]
    assert [chunk["data"][0]["finish_reason"] for chunk in chunks] == [None, None, "stop"]
    assert [chunk["usage"] for chunk in chunks] == [None, None, USAGE]


def test_an_error_is_an_event_of_its_own() -> None:
    error = APIError(500, "It failed.", code="generation_failed")
    envelope = {"message": "It failed.", "type": "server_error", "param": None, "code": "generation_failed"}
    (event,) = events([error_event(error, "openai")])
    assert event.keys() == {"event", "data"}
    assert event["event"] == "error"
    assert data(event) == {"type": "error", "error": envelope}
    (event,) = events([error_event(error, "image.chunk")])
    assert data(event) == {"type": "error", "error": envelope}
    assert json.loads(event["error"]) == {"code": 500, "message": "It failed.", "type": "server_error"}
