"""The endpoint that draws images from text."""

from fastapi import APIRouter, Request, Response

from heliograph_api.images import check_limits, parse_image_request
from heliograph_gateway.body import read_json
from heliograph_gateway.boundary import record_of
from heliograph_gateway.proxy import Upstream
from heliograph_gateway.routing import RoutingTable


def generations_router(*, routes: RoutingTable, upstream: Upstream, max_body_bytes: int) -> APIRouter:
    """Return the routes of the endpoint.

    Args:
        routes: Where models are looked up.
        upstream: What passes requests on.
        max_body_bytes: Largest request body.
    """
    router = APIRouter()

    @router.post("/v1/images/generations")
    async def generate(request: Request) -> Response:
        body, content = await read_json(request, most=max_body_bytes)
        wanted = parse_image_request(content)
        route = routes.resolve(wanted.model)
        record_of(request.scope).route = route
        check_limits(wanted, route.model.spec.request_limits)
        return upstream.forward(request, body, route)

    return router
