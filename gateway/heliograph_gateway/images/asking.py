"""What every request for pictures or clips goes through before a runtime is asked."""

import asyncio
from typing import Any

from starlette.requests import Request

from heliograph_api.body import parse_body
from heliograph_api.images.model_rules import apply_model
from heliograph_api.images.request import ImageRequest, parse_image_request
from heliograph_gateway.body import read_body
from heliograph_gateway.boundary import record_of
from heliograph_gateway.fetching.fetcher import Fetcher
from heliograph_gateway.names import Route
from heliograph_gateway.proxy import Upstream

_READ_AT_ONCE = 65_536
"""Bytes of a body that is read on the event loop; a longer one may hold pictures, which take time to decode."""


async def read_request(request: Request, *, path: str, most: int) -> tuple[bytes, Any, ImageRequest]:
    """Return a request's body as it came, what it says, and its checked form.

    Args:
        request: The request; its body must not have been read.
        path: The path of the contract that it is read for.
        most: Largest size in bytes.

    Raises:
        APIError: 400, 408, 413 or 415, as `read_body`, `parse_body` and `parse_image_request` raise them.
    """
    body = await read_body(request, most=most)

    def read() -> tuple[Any, ImageRequest]:
        content = parse_body(body, request.headers["content-type"])
        return content, parse_image_request(content, path=path)

    content, asked = read() if len(body) <= _READ_AT_ONCE else await asyncio.to_thread(read)
    return body, content, asked


def admit(request: Request, asked: ImageRequest, upstream: Upstream) -> tuple[Route, ImageRequest]:
    """Return the model of a request, and the request as that model takes it.

    Raises:
        APIError: 400, the model's spec does not allow it; 403 or 404, the model is disabled or unknown.
    """
    route = upstream.routes.resolve(asked.model)
    record_of(request.scope).route = route
    upstream.metrics.count_ignored_fields(route, len(asked.ignored))
    return route, apply_model(asked, route.model.spec)


async def fetched_inputs(wanted: ImageRequest, fetcher: Fetcher) -> dict[str, bytes]:
    """Return each URL of a request with the picture behind it: a runtime reaches nothing outside.

    Raises:
        APIError: 400, one of them can't be had.
    """
    by_url = {picture.url: picture.field for picture in wanted.inputs if picture.url}
    files = await fetcher.fetch([(field, url) for url, field in by_url.items()]) if by_url else []
    return dict(zip(by_url, files, strict=True))
