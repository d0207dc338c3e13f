"""A runtime whose device takes one request after another: its queue is bounded, and told, as the real one's is.

    python -m gateway.busy_runtime --seconds 0.1 --room 4

prints its port. What it draws is the time; whoever needs a busy replica on a machine without a GPU measures with it.
"""

import argparse
import asyncio
import json
from collections import deque
from dataclasses import dataclass, field

from gateway.async_peer import Asked, AsyncPeer, Told
from heliograph_api import runtime_status
from heliograph_api.errors import QUEUE_FULL, APIError


@dataclass
class Device:
    """Works on one request at a time, in the order in which they came, and refuses those that find no room.

    Attributes:
        seconds: Time that one takes.
        room: Requests at work or waiting that it takes.
        done: Whose requests it has worked on, in order.
        refused: Requests that it refused.
        most: Most requests that were there at a time.
    """

    seconds: float
    room: int
    done: list[str] = field(default_factory=list)
    refused: int = 0
    most: int = 0
    _queue: deque[asyncio.Event] = field(default_factory=deque)

    @property
    def requests(self) -> int:
        """Return the number of requests at work or waiting."""
        return len(self._queue)

    async def work(self, whose: str) -> bool:
        """Work on a request; return False if there is no room for it. Cancelled, it leaves the queue."""
        if len(self._queue) >= self.room:
            self.refused += 1
            return False
        turn = asyncio.Event()
        self._queue.append(turn)
        self.most = max(self.most, len(self._queue))
        try:
            if self._queue[0] is not turn:
                await turn.wait()
            await asyncio.sleep(self.seconds)
        finally:
            self._queue.remove(turn)
            if self._queue:
                self._queue[0].set()
        self.done.append(whose)
        return True


class BusyRuntime:
    """Answers over HTTP for a device. A request says whose it is by its `user`, if it matters."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._peer = AsyncPeer(self._answer, "retry-after: 5")

    async def start(self) -> str:
        """Listen, and return the address, HOST:PORT."""
        return f"127.0.0.1:{await self._peer.start()}"

    async def aclose(self) -> None:
        await self._peer.aclose()

    async def _answer(self, asked: Asked) -> Told | None:
        if asked.line.startswith(f"GET {runtime_status.PATH} "):
            return self._status()
        return await self._draw(json.loads(asked.body), asked.reader)

    def _status(self) -> Told:
        device = self.device
        return 200, {
            "ready": True,
            "busy": device.requests > 0,
            "requests": device.requests,
            "most_requests": device.room,
            "queue": max(device.requests - 1, 0),
            "gpu": None,
        }

    async def _draw(self, asked: dict[str, str], reader: asyncio.StreamReader) -> Told | None:
        """Return the answer, or None when the client has left, which ends its work."""
        working = asyncio.create_task(self.device.work(asked.get("user", "")))
        leaving = asyncio.create_task(reader.read(1))
        try:
            await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                return None
        finally:
            leaving.cancel()
            working.cancel()
        if not working.result():
            return 429, APIError(429, "No room is left.", code=QUEUE_FULL).body()
        return 200, {"created": 1, "data": [{"b64_json": "AAAA"}], "output_format": "png"}


async def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.1, help="time that one request takes")
    parser.add_argument("--room", type=int, default=64, help="requests at work or waiting that it takes")
    options = parser.parse_args()
    address = await BusyRuntime(Device(options.seconds, options.room)).start()
    print(address, flush=True)  # noqa: T201 - what starts it reads it
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
