"""Reading a JSON body strictly and within bounds."""

import json
from typing import Any

from fastapi import Request

from heliograph_api.errors import APIError

_DRAINED = 4
"""A body up to this many times too large is still read, and dropped, so that its client gets to see the answer."""


async def read_json(request: Request, *, max_bytes: int) -> Any:
    """Return the JSON of a request's body; line breaks inside a string are let pass, as shells put them there.

    Raises:
        APIError: 400, it is not JSON in UTF-8, or holds a number or a character that is none; 413, it is too large.
    """
    try:
        body = json.loads(
            (await _read(request, max_bytes=max_bytes)).decode(), strict=False, parse_constant=_refuse_constant
        )
        json.dumps(body, ensure_ascii=False).encode()  # half a surrogate pair can't be passed on to anyone
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise APIError(
            400, f"The request body is not valid JSON in UTF-8{where}; send a JSON object.", code="invalid_json"
        ) from None
    return body


async def _read(request: Request, *, max_bytes: int) -> bytes:
    body = bytearray()
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received <= max_bytes:
            body += chunk
        elif received > _DRAINED * max_bytes:
            break
    if received > max_bytes:
        raise APIError(413, f"The request body is too large; send at most {max_bytes} bytes.", code="request_too_large")
    return bytes(body)


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)
