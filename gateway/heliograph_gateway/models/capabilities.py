"""What the models can do, read off their replicas and kept as long as it holds."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from heliograph_api.capabilities import PATH, ModelCapabilities
from heliograph_gateway.models.reading import ReplicaReader
from heliograph_gateway.names import Route
from heliograph_gateway.routing import Endpoint, RoutingTable

_SECONDS = 2.0
_TRIES = 2
"""Replicas that are asked, one after the other."""
_REST_SECONDS = 10.0
"""After replicas that did not tell, so long nobody asks them again."""


@dataclass(frozen=True)
class _Known:
    """What was read.

    Attributes:
        spec: The spec that it was read for.
        endpoints: The replicas that there were; others may have another revision.
        document: What one of them told; None when none did.
        until: Until when that holds, on the event loop's clock; None for as long as spec and endpoints stay.
    """

    spec: Mapping[str, Any]
    endpoints: frozenset[Endpoint]
    document: Mapping[str, Any] | None
    until: float | None = None


class KnownCapabilities:
    """What each model can do."""

    def __init__(self, routes: RoutingTable, reader: ReplicaReader) -> None:
        """Read with `reader` off the replicas in `routes`, when somebody asks."""
        self._routes = routes
        self._reader = reader
        self._known: dict[tuple[str, str], _Known] = {}
        self._reads: dict[tuple[str, str], asyncio.Task[_Known]] = {}

    async def of(self, route: Route) -> Mapping[str, Any] | None:
        """Return what a model can do, as `ModelCapabilities.document` does; None when nobody has told of its spec yet.

        While it has no replica, what the last one told holds.
        """
        spec = _spec(route)
        while True:
            known = self._known.get(route.key)
            endpoints = frozenset(self._routes.ready(route))
            if known and known.spec != spec:
                known = None
            if known and (not endpoints or (known.endpoints == endpoints and not _is_over(known))):
                return known.document
            if not endpoints:
                return None
            if route.key not in self._reads:
                self._reads[route.key] = asyncio.create_task(self._read(route, endpoints, known), name="capabilities")
            # Whoever asked first may leave; the others wait for the same answer.
            read = await asyncio.shield(self._reads[route.key])
            # It may have been asked for a spec that has changed since.
            if read.spec == spec:
                return read.document

    async def aclose(self) -> None:
        """Give up whatever is being read."""
        reads = list(self._reads.values())
        for read in reads:
            read.cancel()
        await asyncio.gather(*reads, return_exceptions=True)

    async def _read(self, route: Route, endpoints: frozenset[Endpoint], known: _Known | None) -> _Known:
        try:
            told = await self._told(endpoints)
        finally:
            del self._reads[route.key]
        if told is not None:
            entry = _Known(_spec(route), endpoints, told.document())
        else:
            until = asyncio.get_running_loop().time() + _REST_SECONDS
            entry = _Known(_spec(route), endpoints, known.document if known else None, until)
        self._known = {key: value for key, value in self._known.items() if self._routes.known_as(key)}
        self._known[route.key] = entry
        return entry

    async def _told(self, endpoints: frozenset[Endpoint]) -> ModelCapabilities | None:
        for endpoint in sorted(endpoints, key=lambda endpoint: (endpoint.host, endpoint.port))[:_TRIES]:
            told = await self._reader.read(endpoint, PATH, ModelCapabilities, seconds=_SECONDS)
            if told is not None:
                return told
        return None


def _is_over(known: _Known) -> bool:
    return known.until is not None and known.until <= asyncio.get_running_loop().time()


def _spec(route: Route) -> Mapping[str, Any]:
    """Return a model's spec but for how many replicas it has, which anybody may change at any time."""
    spec = dict(route.model.raw_spec)
    if isinstance(serving := spec.get("serving"), Mapping):
        spec["serving"] = {key: value for key, value in serving.items() if key != "replicas"}
    return spec
