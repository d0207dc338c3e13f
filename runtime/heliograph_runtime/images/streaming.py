"""The answer to a request that wants events, in either dialect."""

import asyncio
import base64
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from http import HTTPStatus

from starlette.types import Send

from heliograph_api.errors import APIError
from heliograph_api.images.stream_options import Dialect
from heliograph_api.images.streams import CONTENT_TYPE, error_event, event_stream
from heliograph_api.usage import usage_comment
from heliograph_runtime.engines.protocol import Picture
from heliograph_runtime.errors import unexpected_error
from heliograph_runtime.events import DrawEvent, Finished, Preview, Progress
from heliograph_runtime.images.encoding import encode_preview
from heliograph_runtime.images.prepared import Prepared
from heliograph_runtime.images.timing import Stopwatch

_HEARTBEAT_SECONDS = 10.0
"""Longest silence; proxies close connections that are idle for a minute or less."""
_HEARTBEAT = b": still at work\n\n"
"""A comment, which readers of either dialect skip."""
_HEADERS = (
    (b"content-type", f"{CONTENT_TYPE}; charset=utf-8".encode()),
    # No proxy may hold events back to compress them or to fill a buffer; nginx reads the second.
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)

log = logging.getLogger(__name__)


async def event_chunks(
    prepared: Prepared, events: AsyncIterator[DrawEvent], stopwatch: Stopwatch, *, model: str
) -> AsyncGenerator[bytes, None]:
    """Yield the events of an answer as bytes, each chunk one or more whole events.

    What was used so far is told before each finished picture, so that a client who leaves with it has paid for it.

    Args:
        prepared: The request.
        events: What happens to its drawings.
        stopwatch: What measures it.
        model: Id of the model.

    Raises:
        APIError: The drawing failed.
    """
    writer = event_stream(
        prepared.request,
        created=int(time.time()),
        model=model,
        size=prepared.size,
        file_format=prepared.file_format,
        count=prepared.count,
    )
    finished = 0
    async for event in events:
        match event:
            case Progress():
                stopwatch.step(event)
                yield writer.progress(event.index, event.done, event.steps)
            case Preview(index, number, picture):
                shown = await asyncio.to_thread(_preview, picture, prepared)
                yield writer.partial(index, number, prepared.preview_steps[number], prepared.steps, shown)
            case Finished(index, picture, taken):
                finished += 1
                entry = await prepared.encoded_entry(index, picture)
                stopwatch.used += taken
                yield usage_comment(stopwatch.used)
                usage = stopwatch.usage(images=finished, steps=prepared.steps)
                for chunk in writer.finished(index, entry, usage=usage):
                    yield chunk
    if end := writer.end():
        yield end


async def send_events(
    chunks: AsyncGenerator[bytes, None], stopwatch: Stopwatch, *, dialect: Dialect, send: Send
) -> int:
    """Send an answer of events, and return the status that tells how it ended.

    The headers go out with the first event, or with the first heartbeat: until then a failure has an HTTP status of its
    own. Afterwards it is an event, which both of OpenAI's clients raise on; before it stands what was used for the
    pictures that the client got, which is often nothing.

    Raises:
        APIError: Nothing was sent yet.
    """
    stream = _Stream(send)
    status: int = HTTPStatus.OK
    try:
        while (chunk := await _next(chunks, stream)) is not None:
            await stream.send(chunk)
    except Exception as error:
        if not stream.started:
            raise
        if not isinstance(error, APIError):
            log.exception("a stream failed")
        told = error if isinstance(error, APIError) else unexpected_error()
        status = told.status
        await stream.send(usage_comment(stopwatch.used) + error_event(told, dialect))
    await stream.end()
    return status


class _Stream:
    """Sends the headers along with whatever comes first."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def send(self, chunk: bytes) -> None:
        if not self.started:
            self.started = True
            await self._send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": list(_HEADERS)})
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


async def _next(chunks: AsyncGenerator[bytes, None], stream: _Stream) -> bytes | None:
    """Return the next chunk, or None after the last; heartbeats are sent while it does not come."""
    coming = asyncio.ensure_future(anext(chunks, None))
    try:
        while not (await asyncio.wait({coming}, timeout=_HEARTBEAT_SECONDS))[0]:
            await stream.send(_HEARTBEAT)
        return coming.result()
    finally:
        coming.cancel()
        await asyncio.wait({coming})


def _preview(picture: Picture, prepared: Prepared) -> str:
    file = encode_preview(picture, prepared.request.output_format)
    return base64.b64encode(file).decode("ascii")
