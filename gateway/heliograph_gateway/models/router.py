"""The endpoints that tell which models there are, how they are and what they can do, and that start one."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from heliograph_api.images.paths import PREFIXES
from heliograph_api.values import as_bool, as_float
from heliograph_gateway.keys.caller import caller_of
from heliograph_gateway.models.capabilities import KnownCapabilities
from heliograph_gateway.models.entries import DescribedEntry, Entries, describe_model, list_models
from heliograph_gateway.models.loading import LONGEST_WAIT, Loader
from heliograph_gateway.models.modalities import AbleEntries, list_abilities
from heliograph_gateway.routing import RoutingTable

PREWARM_HEADER = "x-heliograph-prewarm"
_PREWARM = "`true` has a model with `spec.serving.scaling` started as a request for a picture would"
_ACCEPTED = 202
_WAIT = f"Seconds to wait for the model to be ready, up to {LONGEST_WAIT}; 0 unless given"


def models_router(*, routes: RoutingTable, capabilities: KnownCapabilities, loader: Loader) -> APIRouter:
    """Return the routes of the endpoints, which answer from `routes`.

    Args:
        routes: The models.
        capabilities: What they can do.
        loader: What starts them.
    """
    router = APIRouter()

    async def models(request: Request) -> Entries:
        return list_models(routes, caller_of(request.scope))

    async def abilities(request: Request) -> AbleEntries:
        return await list_abilities(routes, caller_of(request.scope), capabilities)

    async def model(
        request: Request,
        model_id: str,
        prewarm: Annotated[str | None, Header(alias=PREWARM_HEADER, description=_PREWARM)] = None,
    ) -> DescribedEntry:
        route = routes.resolve(model_id, caller_of(request.scope))
        if as_bool({PREWARM_HEADER: prewarm}, PREWARM_HEADER):
            route = await loader.prewarm(route)
        return describe_model(model_id, route, routes, await capabilities.of(route))

    async def load(
        request: Request,
        response: Response,
        model_id: str,
        wait: Annotated[str | None, Query(description=_WAIT)] = None,
    ) -> DescribedEntry:
        seconds = as_float({"wait": wait}, "wait", least=0, most=LONGEST_WAIT) or 0.0
        route = routes.resolve(model_id, caller_of(request.scope))
        route = await loader.load(route, seconds=seconds, receive=request.receive)
        entry = describe_model(model_id, route, routes, await capabilities.of(route))
        if entry.heliograph.state != "ready":
            response.status_code = _ACCEPTED
        return entry

    for prefix in PREFIXES:
        shown = prefix == PREFIXES[0]
        router.add_api_route(
            f"{prefix}/models", models, methods=["GET"], summary="List the models", include_in_schema=shown
        )
        # Before the path of a model, which matches it too.
        router.add_api_route(
            f"{prefix}/models/capabilities",
            abilities,
            methods=["GET"],
            summary="List what the models take and make",
            include_in_schema=shown,
        )
        # Ids hold slashes, and OpenAI's clients send them percent-encoded.
        router.add_api_route(
            f"{prefix}/models/{{model_id:path}}",
            model,
            methods=["GET"],
            summary="Tell how a model is, and what it can do",
            include_in_schema=shown,
        )
        router.add_api_route(
            f"{prefix}/models/{{model_id:path}}/load",
            load,
            methods=["POST"],
            summary="Start a model that has no replica",
            responses={_ACCEPTED: {"model": DescribedEntry, "description": "It is starting"}},
            include_in_schema=shown,
        )
    return router
