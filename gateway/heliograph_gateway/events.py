"""Server-sent events of a runtime, taken apart."""

from collections.abc import AsyncIterator

from heliograph_gateway.answers import Share

END = b"\n\n"
"""What ends an event."""


async def whole_events(parts: AsyncIterator[bytes], share: Share) -> AsyncIterator[list[bytes]]:
    """Yield the events that are whole with each part of a body, without what ends them; the rest of it is dropped.

    Args:
        parts: The body as it comes.
        share: What is kept of it counts there; raises `APIError` for an event that is too large.
    """
    rest = bytearray()
    async for part in parts:
        share.take(len(part))
        # An event can be many parts long: what was looked through is not looked through again.
        start = max(0, len(rest) - 1)
        rest += part
        if rest.find(END, start) < 0:
            continue
        whole = len(rest)
        *events, left = bytes(rest).split(END)
        rest = bytearray(left)
        yield events
        del events
        share.give_back(whole - len(rest))
