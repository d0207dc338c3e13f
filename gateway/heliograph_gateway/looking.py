"""Looking whether a replica that other gateways filled has room again, without sending it whole requests for that."""

import asyncio
import random
from collections.abc import Callable

from heliograph_api import runtime_status
from heliograph_api.runtime_status import RuntimeStatus
from heliograph_gateway.models.reading import ReplicaReader
from heliograph_gateway.names import Route
from heliograph_gateway.routing import Endpoint, RoutingTable

_PAUSE_SECONDS = (0.03, 0.06)
"""More often than a place stays open to other gateways, which `places` says."""
_READ_SECONDS = 1.0


class RoomFinder:
    """Looks at replicas that were found to take less than the settings allow, as long as somebody waits for them."""

    def __init__(
        self,
        routes: RoutingTable,
        reader: ReplicaReader,
        *,
        most: Callable[[Route], int],
        found: Callable[[Route], None],
    ) -> None:
        """Look at nothing yet.

        Args:
            routes: Has the replicas and their places.
            reader: Reads their status.
            most: Returns how many requests the settings and a model's spec allow at one replica.
            found: Called when there is room at a replica of a model.
        """
        self._routes = routes
        self._reader = reader
        self._most = most
        self._found = found
        self._looking: dict[tuple[tuple[str, str], Endpoint], asyncio.Task[None]] = {}

    def look(self, route: Route, endpoint: Endpoint, *, is_wanted: Callable[[], bool]) -> None:
        """Look for room at a replica, once for all requests, until it takes what is allowed or nobody wants it."""
        key = route.service, endpoint
        if key not in self._looking:
            self._looking[key] = asyncio.create_task(
                self._look(route, endpoint, is_wanted), name=f"room at {endpoint.url}"
            )
            self._looking[key].add_done_callback(lambda _: self._looking.pop(key, None))

    async def aclose(self) -> None:
        """Look no more."""
        tasks = list(self._looking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self, route: Route, endpoint: Endpoint, is_wanted: Callable[[], bool]) -> None:
        while is_wanted() and (here := self._routes.at(route, endpoint)) and here[0].are_fewer:
            places, _ = here
            # Seconds in which nothing else tries the replica, should this end in between.
            places.watch(asyncio.get_running_loop().time() + _READ_SECONDS + _PAUSE_SECONDS[1])
            await asyncio.sleep(random.uniform(*_PAUSE_SECONDS))  # noqa: S311 - jitter, no secret
            told = await self._reader.read(endpoint, runtime_status.PATH, RuntimeStatus, seconds=_READ_SECONDS)
            now = asyncio.get_running_loop().time()
            here = self._routes.at(route, endpoint)
            if told is None or told.most_requests is None:
                places.told_nothing(now)
                return
            if here and told.requests < told.most_requests and here[0].found(here[1], most=self._most(route), now=now):
                self._found(route)
