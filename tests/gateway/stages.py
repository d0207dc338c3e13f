"""A hold before the model `tiny` and a routing table, without HTTP."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.manifests import image_model
from heliograph_api.errors import APIError
from heliograph_api.naming import child_name
from heliograph_gateway.health import Health
from heliograph_gateway.holding import Hold
from heliograph_gateway.load import Loads
from heliograph_gateway.metrics import Metrics
from heliograph_gateway.models.observed import Observed
from heliograph_gateway.models.reading import ReplicaReader, Told
from heliograph_gateway.names import Route
from heliograph_gateway.routing import Endpoint, RoutingTable
from heliograph_gateway.settings import GatewaySettings
from heliograph_gateway.waiting import Turn, Wait, Waiting

ONE, TWO = Endpoint("10.0.0.1", 8080), Endpoint("10.0.0.2", 8080)
REFUSAL = APIError(429, "This model already has 64 requests.", code="queue_full", headers={"Retry-After": "5"})


@dataclass
class Wakes:
    """Stands in for what writes to the API server, and remembers.

    Attributes:
        asked: The models that were to be woken, by the question whether they still are.
    """

    asked: list[Callable[[], bool]] = field(default_factory=list)

    def wake(self, route: Route, *, is_wanted: Callable[[], bool], on_woken: Callable[[Route], None]) -> None:
        self.asked.append(is_wanted)
        on_woken(route)

    async def aclose(self) -> None: ...


class SilentReader(ReplicaReader):
    """Asks replicas that are only names, and so tell nothing of themselves."""

    async def read(self, endpoint: Endpoint, path: str, kind: type[Told], *, seconds: float) -> Told | None:  # noqa: ARG002
        return None


class Stage:
    """A routing table with models, of which `tiny` is one, and a hold before it."""

    def __init__(self, *, is_served: bool = False, **settings: Any) -> None:
        """Set it up; `is_served` for the way of `heliograph serve`, where nothing wakes models."""
        self.table = RoutingTable()
        self.wakes = Wakes()
        self.loads = Loads()
        metrics = Metrics(self.table, Health(), self.loads)
        waker = None if is_served else self.wakes
        given = GatewaySettings(**settings)
        self.hold = Hold(self.table, given, metrics, loads=self.loads, waker=waker, reader=SilentReader())
        self.set_model()

    def set_model(
        self,
        *,
        name: str = "tiny",
        replicas: int = 0,
        not_ready: str = "",
        reason: str | None = None,
        scaling: Any = "",
        limits: Any = None,
        **spec: Any,
    ) -> None:
        serving = {"replicas": replicas, "scaling": {"min": 0} if scaling == "" else scaling, "limits": limits}
        model = image_model(name, serving=serving, **spec)
        self.table.set_model(model, not_ready=not_ready, observed=Observed(reason, failed=bool(reason)))

    def set_endpoints(self, *endpoints: Endpoint, name: str = "tiny") -> None:
        self.table.set_endpoints("default", child_name(name), endpoints)

    def held(self, name: str = "tiny") -> int:
        return self.loads.held(("default", name))

    def request(self, *, owner: str = "", size: int = 0, name: str = "tiny") -> Waiting:
        return self.hold.request(self.table.resolve(name), owner=owner, size=size, wait=Wait())

    async def turn(self, request: Waiting) -> Turn:
        """Return the turn of a request, which is counted meanwhile."""
        with self.loads.request(request.route):
            return await self.hold.turn(request)

    def ask(self, **options: Any) -> "asyncio.Task[Turn]":
        """Have a new request ask for its turn."""
        return asyncio.create_task(self.turn(self.request(**options)))


async def settle() -> None:
    """Let whatever can go on go on."""
    for _ in range(10):
        await asyncio.sleep(0)


def play(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), 30))


async def error_of(asking: "asyncio.Task[Turn]") -> APIError:
    with pytest.raises(APIError) as caught:
        await asking
    return caught.value
