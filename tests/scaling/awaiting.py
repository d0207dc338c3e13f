"""An event loop for a test, and bounded waiting in it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from inspect import isawaitable
from typing import Any, TypeVar

T = TypeVar("T")

_PATIENCE = 60.0
_PAUSE = 0.02


def play(scene: Coroutine[Any, Any, T]) -> T:
    """Run something to its end in a loop of its own, and return its result."""

    async def run() -> T:
        try:
            return await scene
        finally:
            # The transports of TLS connections close in later turns of the loop.
            await asyncio.sleep(0.2)

    return asyncio.run(run())


async def until(check: Callable[[], object | Awaitable[object]], *, what: str) -> None:
    """Wait until `check` returns something true, or an awaitable of it; raise `TimeoutError` after a minute."""
    deadline = asyncio.get_running_loop().time() + _PATIENCE
    while True:
        answer = check()
        if isawaitable(answer):
            answer = await answer
        if answer:
            return
        if asyncio.get_running_loop().time() > deadline:
            raise TimeoutError(f"no {what} within {_PATIENCE:g} s")
        await asyncio.sleep(_PAUSE)
