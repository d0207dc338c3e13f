"""Where requests wait for a model that has no replica yet, or none with room, within bounds of number, memory and time.

What a request waits for is read off the routing table anew at each change, so that it does not matter who changed what
in which order: a model that was scaled to zero again before the request got through is woken again.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

from heliograph_api.errors import QUEUE_FULL, APIError
from heliograph_gateway.lines import Lines, either
from heliograph_gateway.load import Loads
from heliograph_gateway.metrics import Metrics
from heliograph_gateway.names import Route
from heliograph_gateway.routing import Endpoint, RoutingTable, not_ready, retry_after
from heliograph_gateway.settings import GatewaySettings

_REPEAT_SECONDS = 1.0
"""After so long, replicas that are said to be ready and could not be connected to are tried once more."""
_OPEN_SECONDS = 0.25
"""Longest that a room stays open to whoever comes; a runtime has a queue to work on meanwhile."""


class Waker(Protocol):
    """What starts the replicas of a model that has none; a `ScaleWaker` in a cluster."""

    def wake(self, route: Route, *, is_wanted: Callable[[], bool], on_woken: Callable[[Route], None]) -> None:
        """Have a model woken, without waiting for it.

        Args:
            route: The model.
            is_wanted: Asked before each attempt; false ends them.
            on_woken: Called when this was what woke it.
        """

    async def aclose(self) -> None:
        """Give up whatever is being tried."""


class Hold:
    """The requests that wait. Only those for a model with `spec.serving.scaling` do: others are a person's to start."""

    def __init__(
        self, routes: RoutingTable, settings: GatewaySettings, metrics: Metrics, *, loads: Loads, waker: Waker
    ) -> None:
        """Hold requests until `routes` has a replica, and have `waker` start one."""
        self._routes = routes
        self._metrics = metrics
        self._loads = loads
        self._waker = waker
        self._lines = Lines(seconds=_REPEAT_SECONDS)
        self._seconds = settings.hold_seconds
        self._most = settings.max_held
        self._most_of_model = settings.max_held_per_model
        self._most_bytes = settings.max_held_bytes
        self._held = 0
        self._bytes = 0

    def deadline(self) -> float:
        """Return until when a request that comes now may be held, on the event loop's clock."""
        return asyncio.get_running_loop().time() + self._seconds

    async def until_ready(self, route: Route, tried: set[Endpoint], *, size: int, deadline: float) -> Route:
        """Return a model's route once it has a ready replica, or at once where requests do not wait for it.

        Args:
            route: The model; its request is counted as `Loads.request` does.
            tried: Replicas that could not be connected to. Those that may be tried again are taken off.
            size: Bytes of the request's body.
            deadline: Until when the request may be held, on the event loop's clock.

        Raises:
            APIError: 429, too much is held already; 503, the time is up; 403 or 404, the model was disabled or deleted.
        """
        if not route.scaling or self._routes.is_ready(route, exclude=tried):
            return route
        with self._place(route, size, refusal=None):
            try:
                async with asyncio.timeout_at(deadline):
                    return await self._wait(route, tried)
            except TimeoutError:
                raise not_ready(self._routes.current(route), since=f" after {self._seconds:g} s") from None

    async def behind_others(self, route: Route, *, size: int, deadline: float) -> None:
        """Return when it is a new request's turn: those that found no room before it are sent first.

        Args:
            route: The model; its request is counted as `Loads.request` does.
            size: Bytes of the request's body.
            deadline: Until when the request may be held, on the event loop's clock.

        Raises:
            APIError: See `until_room`.
        """
        if self._lines.is_waited_in(route.key):
            refusal = APIError(
                429,
                f"The model '{route.model.model_id}' has more requests than it can take; try again later.",
                code=QUEUE_FULL,
                headers=retry_after(route),
            )
            await self.until_room(route, self._routes.ready(route), refusal=refusal, size=size, deadline=deadline)

    async def until_room(
        self, route: Route, full: set[Endpoint], *, refusal: APIError, size: int, deadline: float
    ) -> None:
        """Return when it is a request's turn to be sent again: its model's replicas had no room for it.

        Args:
            route: The model; its request is counted as `Loads.request` does.
            full: The replicas that had no room, and others to be left out; emptied when all may be tried again.
            refusal: What one of them answered.
            size: Bytes of the request's body.
            deadline: Until when the request may be held, on the event loop's clock.

        Raises:
            APIError: `refusal`, where no request is held, too much is held already, or the time is up; 403 or 404, the
                model was disabled or deleted.
        """
        if not route.scaling:
            raise refusal
        with self._place(route, size, refusal=refusal):
            try:
                async with asyncio.timeout_at(deadline):
                    await self._wait_in_line(route, full, deadline)
            except TimeoutError:
                raise refusal from None

    def made_room(self, route: Route) -> None:
        """Have the next request sent that found no room, in a moment: a replica is done with one that it had."""
        # In that moment other gateways may find the room, which else would stay with those that have it for ever.
        delay = random.uniform(0, _OPEN_SECONDS)  # noqa: S311 - jitter, no secret
        asyncio.get_running_loop().call_later(delay, self._lines.call, route.key)

    async def aclose(self) -> None:
        """Stop waking models."""
        await self._waker.aclose()

    async def _wait(self, route: Route, tried: set[Endpoint]) -> Route:
        while True:
            route = self._routes.current(route)
            if not route.scaling or self._routes.is_ready(route, exclude=tried):
                return route
            changed = self._routes.change(route)
            if not route.replicas:
                is_wanted = partial(self._is_waited_for, route.key)
                self._waker.wake(route, is_wanted=is_wanted, on_woken=self._metrics.count_wake)
            # Replicas that have just ended are ready in the table for a moment, as are new ones at their old addresses.
            patience = _REPEAT_SECONDS if self._routes.is_ready(route) else None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), patience)
            tried.clear()

    async def _wait_in_line(self, route: Route, full: set[Endpoint], deadline: float) -> None:
        with self._lines.place(route.key, deadline=deadline) as turn:
            while not turn.is_set():
                route = self._routes.current(route)
                if self._routes.is_ready(route, exclude=full):
                    return  # there is another replica by now
                if not self._routes.is_ready(route):
                    break
                await either(turn, self._routes.change(route))
        full.clear()

    def _is_waited_for(self, key: tuple[str, str]) -> bool:
        return self._loads.held(key) > 0

    @contextlib.contextmanager
    def _place(self, route: Route, size: int, *, refusal: APIError | None) -> Iterator[None]:
        if (
            self._held >= self._most
            or self._loads.held(route.key) >= self._most_of_model
            or self._bytes + size > self._most_bytes
        ):
            raise refusal or APIError(
                429,
                f"The model '{route.model.model_id}' is starting, and as many requests as can be held wait already; "
                f"try again later. {route.not_ready}".rstrip(),
                param="model",
                code=QUEUE_FULL,
                headers=retry_after(route),
            )
        self._held += 1
        self._bytes += size
        try:
            with self._loads.holding(route):
                yield
        finally:
            self._held -= 1
            self._bytes -= size
