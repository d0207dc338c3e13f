"""What every request for pictures or clips goes through before a runtime is asked."""

from mmap import mmap
from typing import Any

from starlette.requests import Request

from heliograph_api.body import parse_body
from heliograph_api.images.model_rules import apply_model
from heliograph_api.images.request import ImageRequest, parse_image_request
from heliograph_gateway.body import Bodies, Body
from heliograph_gateway.fetching.fetcher import Fetcher
from heliograph_gateway.keys.caller import caller_of
from heliograph_gateway.names import Route
from heliograph_gateway.proxy import Upstream
from heliograph_gateway.record import record_of


async def read_request(request: Request, bodies: Bodies, *, path: str) -> tuple[Body, Any, ImageRequest]:
    """Return a request's body as it came, what it says, and its checked form.

    Args:
        request: The request; its body must not have been read.
        bodies: What reads it.
        path: The path of the contract that it is read for.

    Raises:
        APIError: 400, 408, 413, 415 or 503, as `Bodies.read`, `parse_body` and `parse_image_request` raise them.
    """
    body = await bodies.read(request)

    def read(found: bytes | mmap) -> tuple[Any, ImageRequest]:
        content = parse_body(found, request.headers["content-type"])
        return content, parse_image_request(content, path=path)

    content, asked = await bodies.understood(body, read)
    return body, content, asked


def admit(request: Request, asked: ImageRequest, upstream: Upstream) -> tuple[Route, ImageRequest]:
    """Return the model of a request, and the request as that model takes it.

    Raises:
        APIError: 400, the model's spec does not allow it; 403 or 404, the model is disabled or unknown.
    """
    route = upstream.routes.resolve(asked.model, caller_of(request.scope))
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
