"""Server-sent events of a runtime, taken apart."""

from collections.abc import AsyncIterator

END = b"\n\n"
"""What ends an event."""


async def whole_events(parts: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """Yield the events that are whole with each part of a body, without what ends them; the rest of it is dropped."""
    rest = b""
    async for part in parts:
        *events, rest = (rest + part).split(END)
        if events:
            yield events
