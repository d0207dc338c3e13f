"""Server-sent events of both dialects, as bytes.

OpenAI's: `event:` and `data:` with the same type; progress is told in comments, which its clients skip and which keep
proxies from closing an idle connection. The chunks that GPUStack documents: `data:` alone, `[DONE]` at the end.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from heliograph_api.errors import APIError
from heliograph_api.images.request import ImageRequest
from heliograph_api.images.stream_options import Dialect

CONTENT_TYPE = "text/event-stream"


class EventStream(Protocol):
    """Writes the events of one answer; pictures are told apart by their index from 0."""

    def progress(self, index: int, done: int, steps: int) -> bytes:
        """Return the event after a step."""
        ...

    def partial(self, index: int, number: int, done: int, steps: int, b64_json: str) -> bytes:
        """Return the event of an unfinished picture, the `number`th of its kind from 0."""
        ...

    def finished(self, index: int, picture: Mapping[str, Any], *, usage: Mapping[str, Any]) -> Iterator[bytes]:
        """Yield the events of a finished picture.

        Args:
            index: Which picture.
            picture: An entry of `data` in the images response, with `b64_json` or `url`.
            usage: The usage so far.
        """
        ...

    def end(self) -> bytes:
        """Return what ends an answer that is whole."""
        ...


def event_stream(
    request: ImageRequest, *, created: int, model: str, size: str, file_format: str, count: int
) -> EventStream:
    """Return the writer of a request that wants events.

    Args:
        request: The request.
        created: Time of the answer in seconds since 1970.
        model: Id of the model.
        size: Size of the pictures, WIDTHxHEIGHT.
        file_format: Format of the files.
        count: Number of pictures.
    """
    if request.stream and request.stream.dialect == "image.chunk":
        return _ChunkEvents(request, created=created, model=model, count=count)
    return _OpenAIEvents(request, created=created, size=size, file_format=file_format)


def error_event(error: APIError, dialect: Dialect) -> bytes:
    """Return the event of an error that comes after the first byte.

    Both of OpenAI's clients raise on it; GPUStack's clients look for a line that begins with `error:`, which others
    skip.
    """
    body = error.body()["error"]
    literal = {"code": error.status, "message": body["message"], "type": body["type"]}
    line = f"error: {json.dumps(literal)}\n" if dialect == "image.chunk" else ""
    return f"event: error\n{line}data: {json.dumps({'type': 'error', 'error': body})}\n\n".encode()


class _OpenAIEvents:
    def __init__(self, request: ImageRequest, *, created: int, size: str, file_format: str) -> None:
        self._kind = "image_generation" if request.operation in {"generate", "video"} else "image_edit"
        self._about = {
            "created_at": created,
            "size": size,
            # The schema requires a quality, and knows no word for "as it comes".
            "quality": request.quality or "high",
            "background": "opaque",
            "output_format": file_format,
        }

    def progress(self, index: int, done: int, steps: int) -> bytes:
        return f": image {index} step {done}/{steps}\n\n".encode()

    def partial(self, index: int, number: int, done: int, steps: int, b64_json: str) -> bytes:  # noqa: ARG002 - the protocol's
        return self._event("partial_image", {"b64_json": b64_json, "partial_image_index": number, "index": index})

    def finished(self, index: int, picture: Mapping[str, Any], *, usage: Mapping[str, Any]) -> Iterator[bytes]:
        yield self._event("completed", {**picture, "index": index, "usage": dict(usage)})

    def end(self) -> bytes:
        return b""

    def _event(self, what: str, content: Mapping[str, Any]) -> bytes:
        kind = f"{self._kind}.{what}"
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **self._about, **content})}\n\n".encode()


class _ChunkEvents:
    def __init__(self, request: ImageRequest, *, created: int, model: str, count: int) -> None:
        assert request.stream is not None  # noqa: S101 - `event_stream` is for requests that want events
        self._stream = request.stream
        self._left = count
        self._about = {"created": created, "model": model, "object": "list"}

    def progress(self, index: int, done: int, steps: int) -> bytes:
        return self._chunk(index, done, steps)

    def partial(self, index: int, number: int, done: int, steps: int, b64_json: str) -> bytes:  # noqa: ARG002 - the protocol's
        return self._chunk(index, done, steps, b64_json=b64_json)

    def finished(self, index: int, picture: Mapping[str, Any], *, usage: Mapping[str, Any]) -> Iterator[bytes]:
        self._left -= 1
        b64_json = picture.get("b64_json", "")
        size = self._stream.chunk_size or len(b64_json) or 1
        parts = [b64_json[start : start + size] for start in range(0, len(b64_json), size)] or [""]
        for part in parts[:-1]:
            yield self._data(
                {"index": index, "object": "image.chunk", "progress": 100.0, "b64_json": part, "finish_reason": None}
            )
        last = {**picture, "index": index, "object": "image.chunk", "progress": 100.0, "finish_reason": "stop"}
        if "b64_json" in picture:
            last["b64_json"] = parts[-1]
        yield self._data(last, usage=usage if self._stream.include_usage and not self._left else None)

    def end(self) -> bytes:
        return b"data: [DONE]\n\n"

    def _chunk(self, index: int, done: int, steps: int, **more: Any) -> bytes:
        # The decoding counts as a step, so that 100 is left for the finished picture.
        told = {"progress": round(100 * done / (steps + 1), 2), "progressed_steps": done, "progress_steps": steps}
        return self._data({"index": index, "object": "image.chunk", **told, **more, "finish_reason": None})

    def _data(self, entry: Mapping[str, Any], *, usage: Mapping[str, Any] | None = None) -> bytes:
        chunk = {**self._about, "data": [entry], "usage": dict(usage) if usage else None}
        return f"data: {json.dumps(chunk)}\n\n".encode()
