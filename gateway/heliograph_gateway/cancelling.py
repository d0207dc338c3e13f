"""Waiting that a cancellation ends as it should: neither unheard nor too soon."""

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait at most `seconds` for an event, and return whether it is set.

    Python 3.11's `asyncio.wait_for` loses a cancellation that comes in the moment of the event.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


async def in_thread_to_its_end(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what `function` does in a thread, which has surely ended when this ends.

    `asyncio.to_thread` ends as soon as it is cancelled, while the thread still uses what it was given. Here whoever is
    cancelled, be it several times, waits for the thread first.
    """
    work = asyncio.get_running_loop().run_in_executor(None, partial(function, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        # Whoever is cancelled asks for no result; asyncio logs an error that nobody looked at.
        work.exception()
        raise
