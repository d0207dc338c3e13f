"""Reading a request body within bounds."""

import asyncio

from starlette.requests import Request

from heliograph_api.body import check_content_type
from heliograph_api.errors import APIError

_SILENCE_SECONDS = 30.0
_DRAINED = 4
"""A body up to this many times too large is still read, and dropped, so that its client gets to see the answer."""


async def read_body(request: Request, *, most: int) -> bytes:
    """Return a request's body as it came.

    Args:
        request: The request; its body must not have been read.
        most: Largest size in bytes, for a body without Content-Length too.

    Raises:
        APIError: 408 for a client that stops sending, 413 for a body that is too large, and 415 for a content type that
            no body may have.
    """
    check_content_type(request.headers.get("content-type", ""))
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise APIError(415, "Send the body without Content-Encoding.", code="unsupported_content_encoding")
    return await _read(request, most)


async def _read(request: Request, most: int) -> bytes:
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > _DRAINED * most:
        raise _too_large(most)
    body = bytearray()
    received = 0
    parts = aiter(request.stream())
    while received <= _DRAINED * most:
        try:
            part = await asyncio.wait_for(anext(parts), _SILENCE_SECONDS)
        except StopAsyncIteration:
            break
        except TimeoutError:
            raise APIError(408, "The request body did not come in time.", code="request_timeout") from None
        received += len(part)
        if received <= most:
            body += part
    if received > most:
        raise _too_large(most)
    return bytes(body)


def _too_large(most: int) -> APIError:
    # What is left of the body may be unread, so that the connection cannot be used again.
    return APIError(
        413,
        f"The request body is larger than {most} bytes; send less.",
        code="request_too_large",
        headers={"Connection": "close"},
    )
