"""The load of this gateway, which the operator's autoscaler reads.

It is told on a listener of its own: what clients reach must not tell which models there are and who uses them.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path

from heliograph_api import load
from heliograph_api.load import GatewayLoad, ModelLoad
from heliograph_api.serving import MAX_IDLE_SECONDS
from heliograph_gateway.names import Route


@dataclass
class _Load:
    requests: int = 0
    held: int = 0
    ended: float = 0.0


class Loads:
    """The requests of each model, from their validation to the end of their answers."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Count from now on; `clock` returns seconds and is given by tests alone."""
        self._clock = clock
        self._started = clock()
        self._loads: dict[tuple[str, str], _Load] = {}

    @contextmanager
    def request(self, route: Route) -> Iterator[None]:
        """Count a request inside the `with` block."""
        entry = self._loads.setdefault(route.key, _Load())
        entry.requests += 1
        try:
            yield
        finally:
            entry.requests -= 1
            entry.ended = self._clock()

    @contextmanager
    def holding(self, route: Route) -> Iterator[None]:
        """Count a request, which is counted already, as held inside the `with` block."""
        entry = self._loads[route.key]
        entry.held += 1
        try:
            yield
        finally:
            entry.held -= 1

    def held(self, key: tuple[str, str]) -> int:
        """Return how many requests are held for a model, by namespace and name."""
        entry = self._loads.get(key)
        return entry.held if entry else 0

    def all_held(self) -> dict[tuple[str, str], int]:
        """Return how many requests are held, by namespace and name of the models that had any requests."""
        return {key: entry.held for key, entry in self._loads.items()}

    def report(self) -> GatewayLoad:
        """Return the load of this moment."""
        now = self._clock()
        for key, entry in list(self._loads.items()):
            # Whoever asks cannot tell it from a model that had no request at all, and it may be long deleted.
            if not entry.requests and now - entry.ended > MAX_IDLE_SECONDS:
                del self._loads[key]
        return GatewayLoad(
            uptime_seconds=now - self._started,
            models={
                "/".join(key): ModelLoad(
                    outstanding=entry.requests - entry.held,
                    queued=entry.held,
                    idle_seconds=0.0 if entry.requests else now - entry.ended,
                )
                for key, entry in self._loads.items()
            },
        )


def load_app(loads: Loads) -> Starlette:
    """Return the application of the listener that the operator asks."""

    async def report(_request: Request) -> Response:
        return Response(loads.report().model_dump_json(), media_type="application/json")

    return Starlette(routes=[Path(load.PATH, report)])
