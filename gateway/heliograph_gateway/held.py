"""The requests that are held, of all models: how many there may be, and who gives way where there are too many."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

from heliograph_api.errors import APIError
from heliograph_gateway.lines import Line, Share
from heliograph_gateway.names import Route
from heliograph_gateway.pace import Pace
from heliograph_gateway.refusals import queue_full
from heliograph_gateway.settings import GatewaySettings
from heliograph_gateway.waiting import Waiting

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class ModelLine:
    """The requests that wait for one model, while there are any.

    Attributes:
        route: The model as it is by now.
        members: The requests.
        pace: How fast its replicas finish requests meanwhile.
        keeper: The task that looks after it.
    """

    route: Route
    members: Line[Waiting] = field(default_factory=Line)
    pace: Pace = field(default_factory=Pace)
    keeper: asyncio.Task[None] | None = None

    def likely(self, now: float) -> int | None:
        """Return the seconds after which another request is likely to find room; None while that is not known."""
        return self.pace.retry_after(len(self.members), now=now)


class Held:
    """The lines of all models, within bounds.

    Where a bound is met, the request that came last of whoever has most there gives way to one of somebody who has
    less; else who comes is refused. So nobody is shut out by another one's requests, however many.

    Attributes:
        lines: By namespace and name of the model; each has a request in it, or one that is just about to leave.
    """

    def __init__(self, settings: GatewaySettings, *, keep: Callable[[ModelLine], Coroutine[Any, Any, None]]) -> None:
        """Hold nothing yet; `keep` looks after a line until it is cancelled, since the line is empty."""
        self.lines: dict[tuple[str, str], ModelLine] = {}
        self._keep = keep
        self._most = settings.max_held
        self._most_of_model = settings.max_held_per_model
        self._most_bytes = settings.max_held_bytes
        self._count = 0
        self._bytes = 0

    def enter(self, request: Waiting, *, is_starting: bool) -> ModelLine:
        """Put a request into its model's line, and return that.

        Raises:
            APIError: What a replica answered last, or 429: there is no room for it.
        """
        key = request.route.key
        line = self.lines.get(key) or ModelLine(request.route)
        self._make_room(line, request, is_starting=is_starting)
        if key not in self.lines:
            self.lines[key] = line
            line.keeper = asyncio.create_task(self._kept(line), name=f"hold {request.route.qualified_name}")
        request.turn = asyncio.get_running_loop().create_future()
        line.members.add(request, again=request.attempts > 0)
        self._count += 1
        self._bytes += request.size
        return line

    def take(self, line: ModelLine, request: Waiting) -> None:
        """Take a request that goes on out of its line."""
        line.members.take(request)
        self._count -= 1
        self._bytes -= request.size

    def fail(self, line: ModelLine, request: Waiting, error: APIError) -> None:
        """Take a request that waits in vain out of its line, and tell it why."""
        self._drop(line, request)
        request.fail(error)

    def leave(self, line: ModelLine, request: Waiting) -> None:
        """Take a request out of its line if it is still there, and close the line behind the last one."""
        if request in line.members:
            self._drop(line, request)
        if not len(line.members) and self.lines.get(line.route.key) is line:
            del self.lines[line.route.key]
            if line.keeper:
                line.keeper.cancel()

    async def aclose(self) -> None:
        """Look after no line any more."""
        keepers = [line.keeper for line in self.lines.values() if line.keeper]
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)

    async def _kept(self, line: ModelLine) -> None:
        try:
            await self._keep(line)
        except Exception:
            logger.exception("requests for %s cannot be held", line.route.qualified_name)
            for request in line.members.in_turn():
                self.fail(
                    line, request, APIError(500, "Something went wrong inside the gateway; its log has the details.")
                )

    def _drop(self, line: ModelLine, request: Waiting) -> None:
        line.members.remove(request)
        self._count -= 1
        self._bytes -= request.size

    def _make_room(self, line: ModelLine, request: Waiting, *, is_starting: bool) -> None:
        limits = request.route.model.spec.request_limits
        refusal = request.refusal or queue_full(
            request.route, likely=line.likely(asyncio.get_running_loop().time()), is_starting=is_starting
        )
        if len(line.members) >= (limits.max_queued or self._most_of_model):
            self._have_one_leave([line], request, refusal, _requests)
        if self._count >= self._most:
            self._have_one_leave(self.lines.values(), request, refusal, _requests)
        while self._bytes + request.size > self._most_bytes:
            self._have_one_leave(self.lines.values(), request, refusal, _size)

    def _have_one_leave(
        self, lines: Iterable[ModelLine], request: Waiting, refusal: APIError, amount: Callable[[Share], int]
    ) -> None:
        """Refuse the last request of whoever has most in some lines, if that is more than the newcomer will have."""
        shares = [(share, line) for line in lines for share in line.members.shares()]
        largest, line = max(shares, key=lambda it: amount(it[0]), default=(None, None))
        own = next((it for it, at in shares if it.owner == request.owner and at.route.key == request.route.key), None)
        new = Share(request.owner, 1, request.size)
        if largest is None or line is None or amount(largest) <= (amount(own) if own else 0) + amount(new):
            raise refusal
        likely = line.likely(asyncio.get_running_loop().time())
        self.fail(line, line.members.last_of(largest.owner), queue_full(line.route, likely=likely))


def _requests(share: Share) -> int:
    return share.requests


def _size(share: Share) -> int:
    return share.size
