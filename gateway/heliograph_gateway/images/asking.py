"""What every request for pictures or clips goes through before a runtime is asked."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from mmap import mmap
from typing import Any

from starlette.requests import ClientDisconnect, Request

from heliograph_api.body import parse_body
from heliograph_api.images.inputs import inlined
from heliograph_api.images.model_rules import apply_model
from heliograph_api.images.request import ImageRequest, parse_image_request
from heliograph_gateway.auth import owner_of
from heliograph_gateway.body import Bodies, Body
from heliograph_gateway.keys.caller import caller_of
from heliograph_gateway.names import Route
from heliograph_gateway.presence import while_present
from heliograph_gateway.proxy import Upstream
from heliograph_gateway.record import record_of
from heliograph_gateway.state import State


async def read_request(request: Request, bodies: Bodies, *, path: str) -> tuple[Body, ImageRequest]:
    """Return a request's body as it came, and its checked form without the pictures that are in it.

    Args:
        request: The request; its body must not have been read.
        bodies: What reads it.
        path: The path of the contract that it is read for.

    Raises:
        APIError: 400, 408, 413, 415 or 503, as `Bodies.read`, `parse_body` and `parse_image_request` raise them.
    """
    body = await bodies.read(request)
    return body, await bodies.understood(
        body, lambda found: emptied(parse_image_request(said_by(request, found), path=path))
    )


def said_by(request: Request, found: bytes | mmap) -> Any:
    """Return what the body of a request says."""
    return parse_body(found, request.headers["content-type"])


def emptied(asked: ImageRequest) -> ImageRequest:
    """Return a request whose pictures hold no files: it is kept longer than so much may be in memory."""
    if not asked.inputs:
        return asked
    single = (asked.mask, asked.control_image, asked.last_image)
    mask, control_image, last_image = (one and replace(one, data=None) for one in single)
    return replace(
        asked,
        images=tuple(replace(one, data=None) for one in asked.images),
        reference_images=tuple(replace(one, data=None) for one in asked.reference_images),
        mask=mask,
        control_image=control_image,
        last_image=last_image,
    )


def admit(request: Request, asked: ImageRequest, upstream: Upstream) -> tuple[Route, ImageRequest]:
    """Return the model of a request, and the request as that model takes it.

    Raises:
        APIError: 400, the model's spec does not allow it; 403 or 404, the model is disabled or unknown.
    """
    route = upstream.routes.resolve(asked.model, caller_of(request.scope))
    record_of(request.scope).route = route
    upstream.metrics.count_ignored_fields(route, len(asked.ignored))
    return route, apply_model(asked, route.model.spec)


async def fetched_inputs(request: Request, wanted: ImageRequest, state: State) -> dict[str, Body]:
    """Return each URL of a request with the picture behind it: a runtime reaches nothing outside.

    The pictures are gone once the request is over.

    Raises:
        APIError: 400, one of them can't be had; 429 or 503, too many are fetched or kept.
        ClientDisconnect: The client has left.
    """
    by_url = {picture.url: picture.field for picture in wanted.inputs if picture.url}
    if not by_url:
        return {}
    urls = [(field, url) for url, field in by_url.items()]
    async with while_present(request.receive):
        files = await state.fetcher.fetch(urls, into=state.bodies, owner=owner_of(request.scope))
        for file in files:
            record_of(request.scope).cleanup.callback(file.close)
        return dict(zip(by_url, files, strict=True))
    raise ClientDisconnect


async def inlined_body(
    request: Request, body: Body, fetched: Mapping[str, Body], bodies: Bodies, content_of: Callable[[Any], Any]
) -> Body:
    """Return the body for a runtime, with every picture inline.

    Args:
        request: The request.
        body: Its body.
        fetched: The pictures behind its URLs.
        bodies: What keeps the new body.
        content_of: Returns what the runtime is asked for what the body says.
    """

    def rewrite(found: bytes | mmap) -> tuple[None, bytes]:
        files = {url: file.read_by(lambda content: content[:]) for url, file in fetched.items()}
        return None, inlined(content_of(said_by(request, found)), files)

    _, made = await bodies.rewritten(request, body, rewrite, beside=sum(map(len, fetched.values())))
    for file in fetched.values():
        file.close()
    return made
