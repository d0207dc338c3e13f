"""The paths that are answered with pictures or clips."""

import asyncio
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from heliograph_api.body import parse_body
from heliograph_api.images.answers import MEDIA_TYPES, response_format
from heliograph_api.images.inputs import inlined
from heliograph_api.images.model_rules import apply_model
from heliograph_api.images.paths import IMAGE_PATHS
from heliograph_api.images.request import ImageRequest, ResponseFormat, parse_image_request
from heliograph_gateway.body import read_body
from heliograph_gateway.boundary import record_of
from heliograph_gateway.forwarding import Forwarded, Passage
from heliograph_gateway.images.fetching import fetched_inputs
from heliograph_gateway.images.linking import Events, LinkedAnswer, LinkedChunks, Linker
from heliograph_gateway.images.schema import describe
from heliograph_gateway.proxy import Upstream
from heliograph_gateway.settings import GatewaySettings
from heliograph_gateway.state import State

_JSON = "application/json"
_READ_AT_ONCE = 65_536
"""Bytes of a body that is read on the event loop; a longer one may hold pictures, which take time to decode."""


def images_router(*, upstream: Upstream, state: State, settings: GatewaySettings) -> APIRouter:
    """Return the routes of the endpoints.

    Args:
        upstream: What asks the replicas.
        state: Where linked pictures are kept, and what fetches pictures by URL.
        settings: The gateway's settings.
    """
    router = APIRouter()

    async def draw(request: Request) -> Response:
        body = await read_body(request, most=settings.max_body_bytes)
        read = partial(_parsed, body, content_type=request.headers["content-type"], path=request.scope["path"])
        content, asked = read() if len(body) <= _READ_AT_ONCE else await asyncio.to_thread(read)
        route = upstream.routes.resolve(asked.model)
        record_of(request.scope).route = route
        upstream.metrics.count_ignored_fields(route, len(asked.ignored))
        spec = route.model.spec
        wanted = apply_model(asked, spec)
        fetched = await fetched_inputs(wanted, state.fetcher)
        return Forwarded(
            upstream,
            request,
            inlined(content, fetched) if fetched else body,
            route,
            content_type=_JSON if fetched else None,
            passage=_passage(request, wanted, response_format(wanted, spec, setting=settings.response_format), state),
        )

    for path, operation in IMAGE_PATHS.items():
        router.add_api_route(
            path, draw, methods=["POST"], operation_id=f"POST {path}", openapi_extra=describe(operation)
        )
    return router


def _parsed(body: bytes, *, content_type: str, path: str) -> tuple[Any, ImageRequest]:
    content = parse_body(body, content_type)
    return content, parse_image_request(content, path=path)


def _passage(request: Request, wanted: ImageRequest, form: ResponseFormat, state: State) -> Passage:
    linker = Linker(request, state.files, state.links)
    if wanted.stream:
        if form == "url" and wanted.stream.dialect == "image.chunk":
            return LinkedChunks(linker, media_type=MEDIA_TYPES[wanted.output_format])
        return Events(wanted.stream.dialect)
    return Passage() if form == "b64_json" else LinkedAnswer(linker, form)
