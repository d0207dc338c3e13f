"""A request's body on its way to a replica."""

import asyncio
from collections.abc import AsyncIterator

from heliograph_gateway.body import Body

_WRITE_SECONDS = 60.0
_PART_BYTES = 512 * 1024
_SENT_AT_ONCE = 32 * 1024
"""Bytes that a connection takes at once, whatever the replica does."""


async def payload(body: bytes | Body, limit: asyncio.Timeout) -> bytes | AsyncIterator[bytes]:
    """Return a body as the HTTP client takes it.

    Args:
        body: The body.
        limit: Ends when the replica takes nothing for too long; it has to last as long as the body is sent.
    """
    if len(body) > _SENT_AT_ONCE:
        return _paced(_slices(body) if isinstance(body, bytes) else body.parts(), limit)
    return body if isinstance(body, bytes) else b"".join([part async for part in body.parts()])


async def _slices(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _PART_BYTES):
        yield body[start : start + _PART_BYTES]


async def _paced(parts: AsyncIterator[bytes], limit: asyncio.Timeout) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    async for part in parts:
        limit.reschedule(loop.time() + _WRITE_SECONDS)
        yield part
    limit.reschedule(None)
