"""The paths under /sdapi/v1."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from mmap import mmap
from typing import Any

from fastapi import APIRouter, Request, Response

from heliograph_api.body import parse_body
from heliograph_api.errors import APIError
from heliograph_api.images.inputs import PICTURE_FIELDS, inlined
from heliograph_api.images.request import ImageRequest
from heliograph_api.values import as_text
from heliograph_gateway.auth import SDAPI_PREFIX, owner_of
from heliograph_gateway.body import Bodies
from heliograph_gateway.forwarding import Forwarded
from heliograph_gateway.images.asking import admit, emptied, fetched_inputs, inlined_body, said_by
from heliograph_gateway.keys.caller import caller_of
from heliograph_gateway.keys.counting import Counted
from heliograph_gateway.models.capabilities import KnownCapabilities
from heliograph_gateway.proxy import Upstream
from heliograph_gateway.routing import RoutingTable
from heliograph_gateway.sdapi.lists import add_lists
from heliograph_gateway.sdapi.translation import (
    CHECKPOINT,
    PICTURE_PATH,
    TEXT_PATH,
    WebUIAnswer,
    check_pictures,
    image_content,
    parsed,
)
from heliograph_gateway.state import State

_MOST_SENT_BACK = 256 * 1024
"""Characters of a request's parameters that its answer repeats; input pictures are never among them."""


def sdapi_router(*, upstream: Upstream, state: State, capabilities: KnownCapabilities) -> APIRouter:
    """Return the routes of the endpoints.

    The model of a request is the one that its `override_settings` name, else the one that its owner chose by setting
    the option `sd_model_checkpoint`, else the default model.

    Args:
        upstream: What asks the replicas.
        state: Where choices are kept, and what fetches pictures by URL.
        capabilities: What the models can do.
    """
    router = APIRouter(prefix=SDAPI_PREFIX)
    routes = upstream.routes

    async def chosen(request: Request) -> str | None:
        return await state.choices.get(owner_of(request.scope), CHECKPOINT)

    async def draw(request: Request, *, pictures: bool) -> Response:
        body = await state.bodies.read(request)
        model = await chosen(request)

        content_of = partial(_content_of, model=model)

        def read(found: bytes | mmap) -> tuple[tuple[ImageRequest, WebUIAnswer], bytes]:
            parameters = said_by(request, found)
            content = content_of(parameters)
            asked = parsed(content)
            if pictures:
                check_pictures(asked)
            return (emptied(asked), WebUIAnswer(_short(parameters))), inlined(content, {})

        (asked, passage), order = await state.bodies.rewritten(request, body, read)
        route, wanted = admit(request, asked, upstream)
        if fetched := await fetched_inputs(request, wanted, state):
            order.close()
            order = await inlined_body(request, body, fetched, state.bodies, content_of)
        body.close()
        answer = Forwarded(
            upstream,
            request,
            order,
            route,
            path=PICTURE_PATH if wanted.images else TEXT_PATH,
            content_type="application/json",
            passage=passage,
        )
        return Counted(answer, wanted, state.quotas)

    @router.post("/txt2img")
    async def txt2img(request: Request) -> Response:
        return await draw(request, pictures=False)

    @router.post("/img2img")
    async def img2img(request: Request) -> Response:
        return await draw(request, pictures=True)

    async def able(request: Request) -> Mapping[str, Any] | None:
        try:
            route = routes.resolve(await chosen(request), caller_of(request.scope))
        except APIError:
            return None
        return await capabilities.of(route)

    _add_options(router, routes, state, chosen)
    add_lists(router, routes, able)
    return router


def _add_options(
    router: APIRouter, routes: RoutingTable, state: State, chosen: Callable[[Request], Awaitable[str | None]]
) -> None:
    """Add the paths by which the model is chosen."""

    @router.get("/options")
    async def options(request: Request) -> dict[str, Any]:
        model = await chosen(request)
        if model is None:
            with suppress(APIError):
                model = routes.name_of(routes.resolve(None, caller_of(request.scope)))
        return {"samples_format": "png", CHECKPOINT: model}

    @router.post("/options")
    async def set_options(request: Request) -> None:
        body = await _json(request, state.bodies)
        model = as_text(body, CHECKPOINT, most=512) if isinstance(body, dict) else None
        if model is not None:
            # A name that leads nowhere is refused here rather than at the next picture.
            routes.resolve(model, caller_of(request.scope))
            await state.choices.set(owner_of(request.scope), CHECKPOINT, model)


async def _json(request: Request, bodies: Bodies) -> Any:
    body = await bodies.read(request)
    return await bodies.understood(body, lambda content: parse_body(content, request.headers["content-type"]))


def _content_of(parameters: Any, *, model: str | None) -> dict[str, Any]:
    """Return the request for pictures that parameters stand for, by default to the model that was chosen."""
    return {"model": model, **image_content(parameters)}


def _short(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that are sent back: those without much in them, which are kept as long as the request."""
    left, kept = _MOST_SENT_BACK, {}
    for key, value in parameters.items():
        size = _MOST_SENT_BACK if key in PICTURE_FIELDS else len(key) + len(repr(value))
        if size < left:
            left -= size
            kept[key] = value
    return kept
