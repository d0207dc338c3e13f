"""The answer to a request that wants no events: one JSON body."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from heliograph_api.images.answers import images_body
from heliograph_api.usage import Usage
from heliograph_runtime.events import DrawEvent, Finished, Progress
from heliograph_runtime.images.prepared import Prepared
from heliograph_runtime.images.timing import Stopwatch


async def images_answer(
    prepared: Prepared, events: AsyncIterator[DrawEvent], stopwatch: Stopwatch
) -> tuple[bytes, Usage]:
    """Return OpenAI's images response as JSON, once everything is drawn, and what it took.

    Raises:
        APIError: The drawing failed.
    """
    entries: dict[int, dict[str, Any]] = {}
    size = prepared.size
    used = Usage()
    async for event in events:
        if isinstance(event, Progress):
            stopwatch.step(event)
        elif isinstance(event, Finished):
            entries[event.index] = await prepared.encoded_entry(event.index, event.picture)
            used += event.usage
            # Some pipelines choose the size themselves.
            size = f"{event.picture.width}x{event.picture.height}"
    body = images_body(
        [entries[index] for index in sorted(entries)],
        created=int(time.time()),
        request=prepared.request,
        file_format=prepared.file_format,
        size=size,
        usage=stopwatch.usage(images=len(entries), steps=prepared.steps),
    )
    return await asyncio.to_thread(lambda: json.dumps(body).encode()), used
