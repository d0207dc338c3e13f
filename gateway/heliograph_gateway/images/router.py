"""The paths that are answered with pictures or clips."""

from typing import Any

from fastapi import APIRouter, Request, Response

from heliograph_api.images.answers import MEDIA_TYPES, response_format
from heliograph_api.images.paths import IMAGE_PATHS
from heliograph_api.images.request import ImageRequest, ResponseFormat
from heliograph_gateway.forwarding import Forwarded, Passage
from heliograph_gateway.images.asking import admit, fetched_inputs, inlined_body, read_request
from heliograph_gateway.images.linking import Events, LinkedAnswer, LinkedChunks, Linker
from heliograph_gateway.images.schema import describe
from heliograph_gateway.keys.counting import Counted
from heliograph_gateway.proxy import Upstream
from heliograph_gateway.settings import GatewaySettings
from heliograph_gateway.state import State

_JSON = "application/json"


def images_router(*, upstream: Upstream, state: State, settings: GatewaySettings) -> APIRouter:
    """Return the routes of the endpoints.

    Args:
        upstream: What asks the replicas.
        state: Where linked pictures are kept, and what fetches pictures by URL.
        settings: The gateway's settings.
    """
    router = APIRouter()

    async def draw(request: Request) -> Response:
        body, asked = await read_request(request, state.bodies, path=request.scope["path"])
        route, wanted = admit(request, asked, upstream)
        form = response_format(wanted, route.model.spec, setting=settings.response_format)
        fetched = await fetched_inputs(request, wanted, state)
        answer = Forwarded(
            upstream,
            request,
            await inlined_body(request, body, fetched, state.bodies, _as_it_is) if fetched else body,
            route,
            content_type=_JSON if fetched else None,
            passage=_passage(request, wanted, form, state),
        )
        return Counted(answer, wanted, state.quotas)

    for path, operation in IMAGE_PATHS.items():
        router.add_api_route(
            path, draw, methods=["POST"], operation_id=f"POST {path}", openapi_extra=describe(operation)
        )
    return router


def _passage(request: Request, wanted: ImageRequest, form: ResponseFormat, state: State) -> Passage:
    linker = Linker(request, state.files, state.links)
    if wanted.stream:
        if form == "url" and wanted.stream.dialect == "image.chunk":
            return LinkedChunks(linker, media_type=MEDIA_TYPES[wanted.output_format])
        return Events(wanted.stream.dialect)
    return Passage() if form == "b64_json" else LinkedAnswer(linker, form)


def _as_it_is(content: Any) -> Any:
    return content
