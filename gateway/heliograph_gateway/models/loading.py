"""Starting a model before anybody asks it for a picture."""

from typing import Final

from starlette.types import Receive

from heliograph_api.errors import APIError
from heliograph_gateway.holding import Hold
from heliograph_gateway.models.states import state_of
from heliograph_gateway.names import Route
from heliograph_gateway.presence import while_present
from heliograph_gateway.routing import RoutingTable

LONGEST_WAIT: Final = 600
"""Seconds that a request may wait for a model to be ready."""


class Loader:
    """Starts models, and waits for them."""

    def __init__(self, routes: RoutingTable, hold: Hold) -> None:
        """Start models through `hold`, as requests for pictures do."""
        self._routes = routes
        self._hold = hold

    async def load(self, route: Route, *, seconds: float, receive: Receive) -> Route:
        """Have a model started, and return it as it is once it is ready, or the time is up, or the client has left.

        One that a person gave replicas starts by itself, and is only waited for.

        Args:
            route: The model.
            seconds: Longest time to wait for it.
            receive: Tells when the client leaves; its request must have been read.

        Raises:
            APIError: 409, nothing starts it; 403 or 404, it was disabled or deleted meanwhile.
        """
        if not route.scaling and state_of(route, self._routes).state == "cold":
            raise APIError(
                409,
                f"The model '{route.model.model_id}' has no replicas, and only a person gives it some: set "
                "spec.serving.replicas, or set spec.serving.scaling so that it is started when it is needed.",
                param="model",
                code="model_not_scaled",
            )
        async with while_present(receive):
            return await self._hold.prewarm(route, wait=seconds)
        return self._routes.current(route)

    async def prewarm(self, route: Route) -> Route:
        """Have a model started that requests start, without waiting for it, and return it as it is by now."""
        return await self._hold.prewarm(route)
