"""Reading a JSON body within bounds."""

import asyncio
from typing import Any

from fastapi import Request

from heliograph_api.body import parse_json
from heliograph_api.errors import APIError

_SILENCE_SECONDS = 30.0
_DRAINED = 4
"""A body up to this many times too large is still read, and dropped, so that its client gets to see the answer."""


async def read_json(request: Request, *, max_bytes: int) -> Any:
    """Return the JSON of a request's body; line breaks inside a string are let pass, as shells put them there.

    Raises:
        APIError: 400, it is not JSON in UTF-8, or holds a number or a character that is none; 408, its sender fell
            silent; 413, it is too large.
    """
    return parse_json(await _read(request, max_bytes=max_bytes))


async def _read(request: Request, *, max_bytes: int) -> bytes:
    body = bytearray()
    received = 0
    try:
        async with asyncio.timeout(_SILENCE_SECONDS) as silence:
            async for chunk in request.stream():
                silence.reschedule(asyncio.get_running_loop().time() + _SILENCE_SECONDS)
                received += len(chunk)
                if received <= max_bytes:
                    body += chunk
                elif received > _DRAINED * max_bytes:
                    break
    except TimeoutError:
        raise APIError(
            408, f"Nothing of the request body came for {_SILENCE_SECONDS:g} s.", code="request_timeout"
        ) from None
    if received > max_bytes:
        raise APIError(413, f"The request body is too large; send at most {max_bytes} bytes.", code="request_too_large")
    return bytes(body)
