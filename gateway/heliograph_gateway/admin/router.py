"""The administrators' endpoints; whoever calls them needs the scope `admin`, which their path says."""

from fastapi import APIRouter

from heliograph_api.images.paths import PREFIXES
from heliograph_gateway.admin.survey import Survey, survey
from heliograph_gateway.holding import Hold
from heliograph_gateway.models.reading import ReplicaReader
from heliograph_gateway.routing import RoutingTable


def admin_router(*, routes: RoutingTable, hold: Hold, reader: ReplicaReader) -> APIRouter:
    """Return the routes.

    Args:
        routes: The models and their replicas.
        hold: Where requests wait.
        reader: Asks replicas how they are.
    """
    router = APIRouter()

    async def models() -> Survey:
        return await survey(routes, hold, reader)

    for prefix in PREFIXES:
        router.add_api_route(
            f"{prefix}/admin/models",
            models,
            methods=["GET"],
            summary="Tell how every model, its replicas and its queue are",
            include_in_schema=prefix == PREFIXES[0],
        )
    return router
