"""The paths under /sdapi/v1."""

import asyncio
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Request, Response

from heliograph_api.body import parse_body
from heliograph_api.errors import APIError
from heliograph_api.images.inputs import inlined
from heliograph_api.sampler_table import SAMPLERS, SCHEDULES
from heliograph_api.values import as_text
from heliograph_gateway.auth import SDAPI_PREFIX, owner_of
from heliograph_gateway.body import Bodies
from heliograph_gateway.forwarding import Forwarded
from heliograph_gateway.images.asking import admit, fetched_inputs
from heliograph_gateway.keys.caller import caller_of
from heliograph_gateway.keys.counting import Counted
from heliograph_gateway.proxy import Upstream
from heliograph_gateway.routing import RoutingTable
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


def sdapi_router(*, upstream: Upstream, state: State) -> APIRouter:
    """Return the routes of the endpoints.

    The model of a request is the one that its `override_settings` name, else the one that its owner chose by setting
    the option `sd_model_checkpoint`, else the default model.

    Args:
        upstream: What asks the replicas.
        state: Where choices are kept, and what fetches pictures by URL.
    """
    router = APIRouter(prefix=SDAPI_PREFIX)
    routes = upstream.routes

    async def chosen(request: Request) -> str | None:
        return await state.choices.get(owner_of(request.scope), CHECKPOINT)

    async def draw(request: Request, body: Any) -> Response:
        content = image_content(body)
        content.setdefault("model", await chosen(request))
        asked = await asyncio.to_thread(parsed, content)
        route, wanted = admit(request, asked, upstream)
        fetched = await fetched_inputs(wanted, state.fetcher)
        answer = Forwarded(
            upstream,
            request,
            await asyncio.to_thread(inlined, content, fetched),
            route,
            path=PICTURE_PATH if wanted.images else TEXT_PATH,
            content_type="application/json",
            passage=await asyncio.to_thread(WebUIAnswer, body),
        )
        return Counted(answer, wanted, state.quotas)

    @router.post("/txt2img")
    async def txt2img(request: Request) -> Response:
        return await draw(request, await _json(request, state.bodies))

    @router.post("/img2img")
    async def img2img(request: Request) -> Response:
        body = await _json(request, state.bodies)
        check_pictures(body if isinstance(body, dict) else {})
        return await draw(request, body)

    @router.get("/options")
    async def options(request: Request) -> dict[str, Any]:
        model = await chosen(request)
        if model is None:
            with suppress(APIError):
                model = routes.name_of(routes.resolve(None, caller_of(request.scope)))
        return {CHECKPOINT: model}

    @router.post("/options")
    async def set_options(request: Request) -> None:
        body = await _json(request, state.bodies)
        model = as_text(body, CHECKPOINT, most=512) if isinstance(body, dict) else None
        if model is not None:
            # A name that leads nowhere is refused here rather than at the next picture.
            routes.resolve(model, caller_of(request.scope))
            await state.choices.set(owner_of(request.scope), CHECKPOINT, model)

    _add_lists(router, routes)
    return router


def _add_lists(router: APIRouter, routes: RoutingTable) -> None:
    """Add what tools read before they ask for a picture."""

    @router.get("/sd-models")
    async def models(request: Request) -> list[dict[str, Any]]:
        return [
            {
                "title": model.id,
                "model_name": model.id,
                "hash": None,
                "sha256": None,
                "filename": model.id,
                "config": None,
            }
            for model in routes.listed(caller_of(request.scope))
        ]

    @router.get("/samplers")
    async def samplers() -> list[dict[str, Any]]:
        return [
            {"name": sampler.a1111 or sampler.name, "aliases": [sampler.name], "options": {}} for sampler in SAMPLERS
        ]

    @router.get("/schedulers")
    async def schedulers() -> list[dict[str, Any]]:
        return [{"name": schedule.name, "label": schedule.name, "aliases": None} for schedule in SCHEDULES]

    @router.get("/progress")
    async def progress() -> dict[str, Any]:
        # SillyTavern waits here for the end of a change of the model, which is done at once.
        return {"progress": 0.0, "eta_relative": 0.0, "state": {"job_count": 0}, "current_image": None}


async def _json(request: Request, bodies: Bodies) -> Any:
    body = await bodies.read(request)
    return await bodies.understood(body, lambda content: parse_body(content, request.headers["content-type"]))
