"""A runtime whose device takes one request after another: its queue is bounded, and told, as the real one's is.

    python -m gateway.busy_runtime --seconds 0.1 --room 4

prints its port. What it draws is the time; whoever needs a busy replica on a machine without a GPU measures with it.
"""

import argparse
import asyncio
import json
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

from heliograph_api import runtime_status
from heliograph_api.errors import QUEUE_FULL, APIError

_Address = tuple[str, int]


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
        self._server: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1") -> _Address:
        """Listen, and return where."""
        self._server = await asyncio.start_server(self._serve, host, 0, backlog=4096)
        name: _Address = self._server.sockets[0].getsockname()[:2]
        return name

    async def aclose(self) -> None:
        assert self._server
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            lines = dict(line.split(": ", 1) for line in head.split("\r\n") if ": " in line)
            body = await reader.readexactly(int(lines.get("content-length", "0")))
            asks_for_status = head.startswith(f"get {runtime_status.PATH} ")
            status, answer = self._status() if asks_for_status else await self._draw(json.loads(body), reader)
            if status:
                content = json.dumps(answer).encode()
                writer.write(
                    f"HTTP/1.1 {status} Whatever\r\ncontent-type: application/json\r\nconnection: close\r\n"
                    f"retry-after: 5\r\ncontent-length: {len(content)}\r\n\r\n".encode()
                    + content
                )
                await writer.drain()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    def _status(self) -> tuple[int, object]:
        device = self.device
        return 200, {
            "ready": True,
            "busy": device.requests > 0,
            "requests": device.requests,
            "most_requests": device.room,
            "queue": max(device.requests - 1, 0),
            "gpu": None,
        }

    async def _draw(self, asked: dict[str, str], reader: asyncio.StreamReader) -> tuple[int, object]:
        """Return status and answer; no status when the client has left, which ends its work."""
        working = asyncio.create_task(self.device.work(asked.get("user", "")))
        leaving = asyncio.create_task(reader.read(1))
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        if not working.done():
            working.cancel()
            return 0, None
        if not working.result():
            return 429, APIError(429, "No room is left.", code=QUEUE_FULL).body()
        return 200, {"created": 1, "data": [{"b64_json": "AAAA"}], "output_format": "png"}


async def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.1, help="time that one request takes")
    parser.add_argument("--room", type=int, default=64, help="requests at work or waiting that it takes")
    options = parser.parse_args()
    host, port = await BusyRuntime(Device(options.seconds, options.room)).start()
    print(f"{host}:{port}", flush=True)  # noqa: T201 - what starts it reads it
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
