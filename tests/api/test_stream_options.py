"""Whether and how a request wants events."""

from typing import Any

import pytest

from heliograph_api.errors import APIError
from heliograph_api.images.stream_options import Stream, read_stream

OPENAI = "/v1/images/generations"
GPUSTACK = "/v1-openai/image/generate"
USAGE = {"include_usage": True}


@pytest.mark.parametrize(
    "body", [{}, {"stream": False}, {"stream": None}, {"stream": "false", "stream_options": USAGE}]
)
def test_no_events_unless_they_are_wanted(body: dict[str, Any]) -> None:
    assert read_stream(body, path=OPENAI) is None


@pytest.mark.parametrize(
    ("path", "body", "dialect"),
    [
        (OPENAI, {}, "openai"),
        (OPENAI, {"partial_images": 2}, "openai"),
        (OPENAI, {"stream_options": USAGE}, "image.chunk"),
        (OPENAI, {"stream_options_include_usage": "true"}, "image.chunk"),
        (OPENAI, {"stream_options": USAGE, "partial_images": 0}, "openai"),
        (OPENAI, {"stream_format": "image.chunk"}, "image.chunk"),
        (GPUSTACK, {}, "image.chunk"),
        (GPUSTACK, {"partial_images": 1}, "image.chunk"),
        (GPUSTACK, {"stream_format": "openai"}, "openai"),
    ],
)
def test_the_dialect(path: str, body: dict[str, Any], dialect: str) -> None:
    stream = read_stream({"stream": True, **body}, path=path)
    assert stream is not None
    assert stream.dialect == dialect


@pytest.mark.parametrize("form", [False, True])
def test_the_options_come_as_an_object_or_as_fields(form: bool) -> None:
    options = {"include_usage": "true", "preview": "true", "chunk_result": "true", "chunk_size": "2048"}
    body = {f"stream_options_{name}": value for name, value in options.items()} if form else {"stream_options": options}
    assert read_stream({"stream": "true", **body}, path=OPENAI) == Stream(
        "image.chunk", preview=True, include_usage=True, chunk_size=2048
    )


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        ({"stream_options": "yes"}, "stream_options", "must be an object"),
        ({"stream_options": [1]}, "stream_options", "must be an object"),
        ({"stream_options": {"chunk_size": 1}}, "chunk_size", "must be from 1024"),
        ({"stream_options": {"preview": 5}}, "preview", "must be true or false"),
        ({"stream_format": "sse"}, "stream_format", "'sse' is not served"),
        ({"partial_images": 4}, "partial_images", "must be from 0 to 3"),
        ({"stream": "soon"}, "stream", "must be true or false"),
    ],
)
def test_what_cannot_be_used_is_refused(body: dict[str, Any], param: str, message: str) -> None:
    with pytest.raises(APIError) as caught:
        read_stream({"stream": True, **body}, path=OPENAI)
    assert (caught.value.status, caught.value.param) == (400, param)
    assert message in caught.value.message
