"""What a client that gets events hears while its request is held: comments, which its own software skips."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.types import Send

from heliograph_api.images.streams import CONTENT_TYPE
from heliograph_gateway.cancelling import is_set_within
from heliograph_gateway.models.states import state_of
from heliograph_gateway.names import Route
from heliograph_gateway.routing import RoutingTable
from heliograph_gateway.waiting import Wait

_EACH_SECONDS = 1.0
_WORDS = {"ready": "queued", "cold": "loading"}
_HEADERS = [
    (b"content-type", f"{CONTENT_TYPE}; charset=utf-8".encode()),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


@asynccontextmanager
async def told(wait: Wait, routes: RoutingTable, send: Send) -> AsyncIterator[Callable[[], Awaitable[bool]]]:
    """Tell a client each second how its request waits, inside the `async with` block.

    The answer begins with the first comment, which comes at once where a model starts, and after a second where there
    is only no room for the request yet: whatever is refused before that has a status of its own.

    Args:
        wait: How the request waits.
        routes: Tells the state of its model.
        send: The client's; nobody else may use it until what is yielded was called.

    Yields:
        What ends the telling, and returns whether the answer has begun.
    """
    over, is_begun = asyncio.Event(), asyncio.Event()
    telling = asyncio.create_task(_tell(wait, routes, send, over, is_begun))

    async def end() -> bool:
        # Not by cancelling, which might break a message off.
        over.set()
        await asyncio.wait((telling,))
        return is_begun.is_set()

    try:
        yield end
    finally:
        over.set()
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


async def _tell(wait: Wait, routes: RoutingTable, send: Send, over: asyncio.Event, is_begun: asyncio.Event) -> None:
    if not await _first_of(wait.begun, over):
        return
    while not over.is_set():
        seen = wait.look()
        if seen and (is_begun.is_set() or wait.lasted() >= _EACH_SECONDS or not routes.is_ready(seen[0])):
            if not is_begun.is_set():
                is_begun.set()
                await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            comment = _comment(wait, *seen, routes)
            await send({"type": "http.response.body", "body": comment, "more_body": True})
        await is_set_within(over, _EACH_SECONDS)


async def _first_of(event: asyncio.Event, over: asyncio.Event) -> bool:
    """Wait until one of two events is set; return whether it is the first one."""
    waiting = [asyncio.create_task(each.wait()) for each in (event, over)]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
    return event.is_set()


def _comment(wait: Wait, route: Route, position: int, routes: RoutingTable) -> bytes:
    """Return a comment such as `: heliograph state=loading progress=0.4 waited=3s position=2`.

    `queued` stands for a model that is ready, and has too much to do; the progress is that of fetching its weights.
    """
    told = state_of(route, routes)
    # Whoever waits for a cold model has it woken.
    words = [f"state={_WORDS.get(told.state, told.state)}"]
    if told.reason and told.state != "ready":
        words.append(f"reason={told.reason}")
    if told.progress is not None:
        words.append(f"progress={told.progress:.2f}")
    words += [f"waited={wait.lasted():.0f}s", f"position={position}"]
    return f": heliograph {' '.join(words)}\n\n".encode()
