"""The endpoints that tell which models there are."""

from typing import Any

from fastapi import APIRouter

from heliograph_api.images.paths import PREFIXES
from heliograph_gateway.names import ListedModel
from heliograph_gateway.routing import RoutingTable


def models_router(*, routes: RoutingTable) -> APIRouter:
    """Return the routes of the endpoints, which answer from `routes` alone."""
    router = APIRouter()

    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [_entry(model) for model in routes.listed()]}

    async def model(model_id: str) -> dict[str, Any]:
        route = routes.resolve(model_id)
        return _entry(ListedModel(model_id, route.created, route.model.namespace))

    for prefix in PREFIXES:
        router.add_api_route(f"{prefix}/models", models, methods=["GET"])
        # Ids hold slashes, and OpenAI's clients send them percent-encoded.
        router.add_api_route(f"{prefix}/models/{{model_id:path}}", model, methods=["GET"])
    return router


def _entry(model: ListedModel) -> dict[str, Any]:
    """Return OpenAI's `Model`."""
    return {"id": model.id, "object": "model", "created": model.created, "owned_by": model.owner or "heliograph"}
