"""Where requests wait for a replica with room for them, within bounds of number, memory and time.

Whoever waits is sent in turn with the other owners of requests (see `Line`). What a request waits for is read off the
routing table anew at each change, so that it does not matter who changed what in which order: a model that was scaled
to zero again before the request got through is woken again.
"""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Protocol

from heliograph_api.errors import APIError
from heliograph_gateway.cancelling import is_set_within
from heliograph_gateway.held import Held, ModelLine
from heliograph_gateway.load import Loads
from heliograph_gateway.looking import RoomFinder
from heliograph_gateway.metrics import Metrics
from heliograph_gateway.models.reading import ReplicaReader
from heliograph_gateway.names import Route
from heliograph_gateway.places import Places
from heliograph_gateway.refusals import not_ready, queue_full
from heliograph_gateway.routing import Endpoint, RoutingTable
from heliograph_gateway.settings import GatewaySettings
from heliograph_gateway.waiting import Turn, Wait, Waiting

_REPEAT_SECONDS = 1.0
"""After so long, whatever is waited for is looked at anew, and replicas that could not be connected to are tried once
more."""
_PREWARM_SECONDS = 60.0
"""So long, waking a model that was prewarmed is tried."""


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
    """The requests that wait: for room at a replica, or for a replica.

    A model that has none and no `spec.serving.scaling`, so that a person has to give it one, is not waited for.
    """

    def __init__(
        self,
        routes: RoutingTable,
        settings: GatewaySettings,
        metrics: Metrics,
        *,
        loads: Loads,
        waker: Waker | None,
        reader: ReplicaReader,
    ) -> None:
        """Hold requests until a replica has room for them.

        Args:
            routes: Has the replicas.
            settings: The gateway's settings.
            metrics: Where models that were woken are counted.
            loads: Has the requests of each model.
            waker: Starts replicas; where it is absent, nobody waits for one.
            reader: Reads how much replicas have to do.
        """
        self._routes = routes
        self._metrics = metrics
        self._loads = loads
        self._waker = waker
        self._held = Held(settings, keep=self._keep)
        self._seconds = settings.hold_seconds
        self._most_at_replica = settings.max_at_replica
        self._finder = RoomFinder(routes, reader, most=self._most, found=lambda route: self._look_again(route.key))
        self._numbers = count()
        self._prewarmed: dict[tuple[str, str], float] = {}

    def request(self, route: Route, *, owner: str, size: int, wait: Wait) -> Waiting:
        """Return a new request, to be held for `hold_seconds` in all; `Loads.request` has counted it.

        Args:
            route: The model.
            owner: Whose request it is; owners take turns.
            size: Bytes of its body.
            wait: Told how it is held.
        """
        deadline = asyncio.get_running_loop().time() + self._seconds
        return Waiting(route, owner, next(self._numbers), size, deadline, wait)

    async def turn(self, request: Waiting) -> Turn:
        """Return a request's place at a replica, once it is its turn and there is one.

        Raises:
            APIError: 429, too much is held already, or the time is up and no replica had room; 503, no replica is ready
                and none will be soon; 403 or 404, the model was disabled or deleted.
        """
        if request.route.key not in self._held.lines:
            request.route = self._routes.current(request.route)
            if turn := self._free_place(request):
                return turn
            if error := self._hopeless(request):
                raise error
        return await self._wait(request)

    def refused(self, request: Waiting, turn: Turn, refusal: APIError) -> None:
        """Note that a replica had no room for a request, which keeps its turn; its place is not given back yet."""
        request.refusal = refusal
        if here := self._routes.at(turn.route, turn.endpoint):
            places, outstanding = here
            places.refused(outstanding - 1, now=_now())

    def finished(self, turn: Turn) -> None:
        """Note that a replica has done what a request asked for."""
        if line := self._held.lines.get(turn.route.key):
            line.pace.count(_now())

    async def prewarm(self, route: Route, *, wait: float = 0.0) -> Route:
        """Wake a model as a request would, and return it as it is once it is ready, or after `wait` seconds.

        Whoever asks again finds the same attempt at work, and one that is ready stays so for its idle time anew. A
        model that only a person starts is returned as it is.

        Raises:
            APIError: 403 or 404, the model was disabled or deleted meanwhile.
        """
        deadline = _now() + wait
        with self._loads.request(route):
            pass  # as long as a request would, it keeps the model awake
        while True:
            route = self._routes.current(route)
            changed = self._routes.change(route)
            if self._routes.is_ready(route) or not self._may_start(route) or route.observed.is_final:
                self._prewarmed.pop(route.key, None)
                return route
            self._prewarmed[route.key] = _now() + _PREWARM_SECONDS
            self._wake(route)
            if not await is_set_within(changed, min(deadline - _now(), _REPEAT_SECONDS)) and _now() >= deadline:
                return self._routes.current(route)

    def waiting(self, route: Route) -> dict[str, int]:
        """Return how many requests of each owner wait for a model."""
        line = self._held.lines.get(route.key)
        return {share.owner: share.requests for share in line.members.shares()} if line else {}

    async def aclose(self) -> None:
        """Stop waking models and looking after who waits."""
        await self._held.aclose()
        await self._finder.aclose()
        if self._waker:
            await self._waker.aclose()

    async def _wait(self, request: Waiting) -> Turn:
        line = self._held.enter(request, is_starting=not self._routes.is_ready(request.route))
        turn = None
        try:
            self._advance(line)
            with self._loads.holding(request.route), request.wait.lasting(partial(_standing, line, request)):
                async with asyncio.timeout_at(request.deadline):
                    turn = await request.turn
        except TimeoutError:
            raise self._too_late(request, line) from None
        else:
            return turn
        finally:
            self._held.leave(line, request)
            if turn is None:
                request.give_up()

    async def _keep(self, line: ModelLine) -> None:
        """Look after the requests that wait for a model, until it is cancelled since there are none."""
        while True:
            changed = self._routes.change(line.route)
            self._advance(line)
            await is_set_within(changed, _REPEAT_SECONDS)
            for request in line.members.in_turn():
                request.tried.clear()

    def _advance(self, line: ModelLine) -> None:
        """Send whoever can be sent now, and end the wait of those that wait in vain."""
        try:
            line.route = route = self._routes.current(line.route)
        except APIError as error:
            for request in line.members.in_turn():
                self._held.fail(line, request, error)
            return
        if not self._routes.is_ready(route) and self._may_start(route):
            self._wake(route)
        for endpoint, places, outstanding in self._routes.places(route):
            places.grow(outstanding, most=self._most(route), now=_now())
            if places.are_worth_watching(_now()):
                self._finder.look(route, endpoint, is_wanted=partial(self._is_waited_for, route.key))
        while any(self._sends(line, request) for request in self._movable(line)):
            pass

    def _movable(self, line: ModelLine) -> Iterator[Waiting]:
        """Yield the requests for which it may be time to move, in turn."""
        route, now = line.route, _now()
        places = self._routes.places(route)
        most = self._most(route)
        is_room = not places or any(each.are_free(taken, most=most, now=now) for _, each, taken in places)
        return (request for request in line.members.in_turn() if is_room or request.tried)

    def _sends(self, line: ModelLine, request: Waiting) -> bool:
        """Give a request its turn, or the reason why it waits in vain; return whether it waits no more."""
        request.route = line.route
        turn = self._free_place(request)
        error = None if turn else self._hopeless(request)
        if turn is None and error is None:
            return False
        if turn:
            self._held.take(line, request)
            request.grant(turn)
        if error:
            self._held.fail(line, request, error)
        return True

    def _free_place(self, request: Waiting) -> Turn | None:
        """Return a place at the best replica that has one."""
        route, now = request.route, _now()
        most = self._most(route)

        def has_room(places: Places, outstanding: int) -> bool:
            return places.are_free(outstanding, most=most, now=now)

        endpoint = self._routes.find(route, exclude=request.tried, owner=request.owner, has_room=has_room)
        if endpoint is None:
            return None
        request.attempts += 1
        return Turn(route, endpoint, partial(self._released, route, endpoint, self._routes.take(route, endpoint)))

    def _released(self, route: Route, endpoint: Endpoint, give_back: Callable[[], None]) -> None:
        here = self._routes.at(route, endpoint)
        give_back()
        line = self._held.lines.get(route.key)
        if line is None:
            if here:
                here[0].left_over()
        elif here and (pause := here[0].give_way(_now())):
            asyncio.get_running_loop().call_later(pause, self._look_again, route.key)
        else:
            self._advance(line)

    def _look_again(self, key: tuple[str, str]) -> None:
        if line := self._held.lines.get(key):
            self._advance(line)

    def _hopeless(self, request: Waiting) -> APIError | None:
        """Return why it is no use to wait, if it is none."""
        route = request.route
        if self._routes.is_ready(route, exclude=request.tried):
            return None  # there will be room
        if not self._may_start(route):
            return not_ready(route)
        return not_ready(route) if route.observed.is_final and not self._routes.is_ready(route) else None

    def _may_start(self, route: Route) -> bool:
        """Return whether a model that is not ready may become so without a person's doing.

        What has replicas gets them back when they end. `heliograph serve`, which has no waker, runs every model.
        """
        return self._waker is None or route.replicas > 0 or route.scaling is not None

    def _wake(self, route: Route) -> None:
        if self._waker and route.scaling and not route.replicas:
            is_wanted = partial(self._is_wanted, route.key)
            self._waker.wake(route, is_wanted=is_wanted, on_woken=self._metrics.count_wake)

    def _is_waited_for(self, key: tuple[str, str]) -> bool:
        return key in self._held.lines

    def _is_wanted(self, key: tuple[str, str]) -> bool:
        return self._loads.held(key) > 0 or self._prewarmed.get(key, 0.0) > _now()

    def _most(self, route: Route) -> int:
        """Return how many requests are kept at one replica."""
        return min(self._most_at_replica, route.model.spec.request_limits.max_concurrent or self._most_at_replica)

    def _too_late(self, request: Waiting, line: ModelLine) -> APIError:
        route = line.route
        if not self._routes.is_ready(route, exclude=request.tried):
            return not_ready(route, since=f" after {self._seconds:g} s")
        return request.refusal or queue_full(route, likely=line.likely(_now()))


def _standing(line: ModelLine, request: Waiting) -> tuple[Route, int]:
    return line.route, line.members.position(request) if request in line.members else 0


def _now() -> float:
    return asyncio.get_running_loop().time()
