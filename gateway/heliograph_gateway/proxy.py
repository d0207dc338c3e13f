"""Asking the replicas of a model."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from heliograph_api.tracing import child_span
from heliograph_gateway.answers import WholeAnswers
from heliograph_gateway.holding import Hold
from heliograph_gateway.load import Loads
from heliograph_gateway.metrics import Metrics
from heliograph_gateway.names import Route
from heliograph_gateway.replicas import Answer, NotConnectedError, Order, QueueFullError, Replicas
from heliograph_gateway.routing import RoutingTable
from heliograph_gateway.settings import GatewaySettings


class Upstream:
    """What all requests to runtimes go through."""

    def __init__(
        self, routes: RoutingTable, settings: GatewaySettings, metrics: Metrics, *, loads: Loads, hold: Hold
    ) -> None:
        """Make it.

        Args:
            routes: Where replicas are picked from.
            settings: The gateway's settings.
            metrics: Where failures are counted.
            loads: Where requests are counted as long as they last.
            hold: Where requests wait for their turn.
        """
        self.routes = routes
        self.metrics = metrics
        self.answers = WholeAnswers(settings)
        self._loads = loads
        self._hold = hold
        self._replicas = Replicas(settings, metrics)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._replicas.aclose()

    @asynccontextmanager
    async def answer(self, route: Route, order: Order) -> AsyncIterator[Answer]:
        """Yield the successful answer of the first replica that can be connected to and has room for the request.

        It waits for its turn where others wait for the model, for room at a replica, and for a replica where the model
        is scaled by itself: such a one is woken. The answer's body is read by the caller. When the caller leaves early
        the connection is closed, which is how a runtime learns that nobody waits for the work.

        Raises:
            APIError: The replica's own error if it has the envelope; else 502, 503 or 504, whenever the answer breaks
                off too, and what the hold raises. What may have reached a replica says that nobody should repeat it.
        """
        with self._loads.request(route):
            request = self._hold.request(route, owner=order.owner, size=len(order.body), wait=order.wait)
            while True:
                with child_span("hold"):
                    turn = await self._hold.turn(request)
                try:
                    async with self._replicas.answer(turn.endpoint, turn.route, order) as answer:
                        if not order.stream:
                            # The work is done: whoever reads slowly keeps nobody from the replica.
                            self._hold.finished(turn)
                            turn.release()
                        yield answer
                        if order.stream:
                            self._hold.finished(turn)
                        return
                except NotConnectedError:
                    request.tried.add(turn.endpoint)
                except QueueFullError as error:
                    self._hold.refused(request, turn, error.refusal)
                finally:
                    turn.release()
