"""Work that ends when its client leaves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import Receive


@asynccontextmanager
async def while_present(receive: Receive) -> AsyncIterator[None]:
    """Cut the `async with` block off once the client has left; what stands behind the block goes on then.

    Args:
        receive: The client's; all of its body must have been read.
    """
    presence = asyncio.timeout(None)
    try:
        async with presence:
            departure = asyncio.create_task(_departure(receive, presence))
            try:
                yield
            finally:
                departure.cancel()
    except TimeoutError:
        if not presence.expired():
            raise


async def _departure(receive: Receive, presence: asyncio.Timeout) -> None:
    """Wait until the client has left, and let `presence` end then."""
    while (await receive())["type"] != "http.disconnect":
        pass
    presence.reschedule(asyncio.get_running_loop().time())
