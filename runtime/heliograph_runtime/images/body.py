"""Reading a request's body within bounds."""

import asyncio

from starlette.requests import Request

from heliograph_api.body import check_content_type
from heliograph_api.errors import APIError

_SILENCE_SECONDS = 30.0
_DRAINED = 4
"""A body up to this many times too large is still read, and dropped, so that its client gets to see the answer."""


async def read_body(request: Request, *, max_bytes: int) -> bytes:
    """Return a request's body as it came.

    Raises:
        APIError: 408, its sender fell silent; 413, it is too large; 415, its type is one that no body may have.
    """
    check_content_type(request.headers.get("content-type", ""))
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
