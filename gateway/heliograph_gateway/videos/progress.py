"""Reading the events of a runtime that draws a clip."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from heliograph_api.errors import APIError
from heliograph_gateway.answers import Share
from heliograph_gateway.events import whole_events


@dataclass(frozen=True)
class Clip:
    """A finished clip: an entry of `data` with `b64_json`, `mime_type`, `size` and `seconds`."""

    entry: dict[str, Any]


async def read_progress(parts: AsyncIterator[bytes], share: Share) -> AsyncIterator[int | Clip]:
    """Yield how many percent are done, then the clip.

    Args:
        parts: Body of an answer in the dialect image.chunk.
        share: Where what is kept of it counts.

    Raises:
        APIError: What the runtime says that went wrong; 502 when the events end without a clip, are none or too large;
            503 when there is no room for a clip.
    """
    async for events in whole_events(parts, share):
        for event in events:
            lines = dict(line.split(b": ", 1) for line in event.split(b"\n") if b": " in line)
            data = lines.get(b"data")
            if data is None or data == b"[DONE]":
                continue
            try:
                # A clip is many megabytes.
                content = await asyncio.to_thread(json.loads, data)
                if lines.get(b"event") == b"error":
                    raise _failure(content["error"])
                (entry,) = content["data"]
                yield Clip(entry) if entry["finish_reason"] == "stop" else int(entry["progress"])
            except (ValueError, LookupError, TypeError, RecursionError):
                raise _no_clip() from None
            if entry["finish_reason"] == "stop":
                return
    raise _no_clip()


def _failure(error: dict[str, Any]) -> APIError:
    message, code = error["message"], error["code"]
    if not isinstance(message, str) or not isinstance(code, str | None):
        raise TypeError
    return APIError(500, message, code=code)


def _no_clip() -> APIError:
    return APIError(502, "The model ended its answer without a clip; its log may say why.", code="upstream_error")
