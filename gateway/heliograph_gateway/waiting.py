"""A request on its way to a replica: what it waits for, and the place that it gets."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from heliograph_api.errors import APIError
from heliograph_gateway.names import Route
from heliograph_gateway.routing import Endpoint


@dataclass(eq=False)
class Turn:
    """A place at a replica, which is one request's until it is given back.

    Attributes:
        route: The model as it is by now.
        endpoint: The replica.
        give_back: Gives the place to the next request; to be called once.
    """

    route: Route
    endpoint: Endpoint
    give_back: Callable[[], None]
    _is_over: bool = False

    def release(self) -> None:
        """Give the place back, if that has not been done."""
        if not self._is_over:
            self._is_over = True
            self.give_back()


class Wait:
    """How a request is held, for whoever tells its client.

    Attributes:
        begun: Set when it is held for the first time.
        seconds: How long it was held in all, once it is held no more.
    """

    def __init__(self) -> None:
        """Begin with a request that is not held."""
        self.begun = asyncio.Event()
        self.seconds = 0.0
        self._since: float | None = None
        self._look: Callable[[], tuple[Route, int]] | None = None

    def lasted(self) -> float:
        """Return for how many seconds it has been held so far."""
        now = asyncio.get_running_loop().time()
        return self.seconds + (0.0 if self._since is None else now - self._since)

    def look(self) -> tuple[Route, int] | None:
        """Return the model as it is by now and the request's place in the line, from 1; None when it is not held."""
        return self._look() if self._look else None

    @contextmanager
    def lasting(self, look: Callable[[], tuple[Route, int]]) -> Iterator[None]:
        """Hold the request inside the `with` block, where `look` says how it stands."""
        self._since, self._look = asyncio.get_running_loop().time(), look
        self.begun.set()
        try:
            yield
        finally:
            self.seconds, self._since, self._look = self.lasted(), None, None


@dataclass(eq=False)
class Waiting:
    """A request that wants a place at a replica.

    Attributes:
        route: The model.
        owner: Whose request it is.
        number: When it came, as a number that grows.
        size: Bytes of its body.
        deadline: Until when it may be held, on the event loop's clock.
        wait: Told how it is held.
        attempts: How often it had its turn.
        tried: Replicas that could not be connected to.
        refusal: What a replica without room answered last.
        turn: What it waits for.
    """

    route: Route
    owner: str
    number: int
    size: int
    deadline: float
    wait: Wait
    attempts: int = 0
    tried: set[Endpoint] = field(default_factory=set)
    refusal: APIError | None = None
    turn: asyncio.Future[Turn] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def grant(self, turn: Turn) -> None:
        """Give it its turn; who has left gives it back."""
        if self.turn.done():
            turn.release()
        else:
            self.turn.set_result(turn)

    def fail(self, error: APIError) -> None:
        """End its wait with an error."""
        if not self.turn.done():
            self.turn.set_exception(error)

    def give_up(self) -> None:
        """Leave without a turn; one that came at this moment goes to the next."""
        if not self.turn.done():
            self.turn.cancel()
        elif not self.turn.cancelled() and not self.turn.exception():
            self.turn.result().release()
