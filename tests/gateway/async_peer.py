"""A server in the event loop of a test, which answers one request on each connection."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True)
class Asked:
    """A request.

    Attributes:
        line: The request line.
        body: The body's bytes.
        reader: What comes after it, which is the end of the connection when the client leaves.
    """

    line: str
    body: bytes
    reader: asyncio.StreamReader


Told = tuple[int, object]
"""The status of an answer, and what it says as JSON."""


class AsyncPeer:
    """Answers requests with what it is told to say; an answer of None closes the connection without one."""

    def __init__(self, answer: Callable[[Asked], Awaitable[Told | None]], *headers: str) -> None:
        """Make it; `headers` are lines that each answer has besides those of its body."""
        self._answer = answer
        self._headers = headers
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self, host: str = "127.0.0.1") -> int:
        """Listen on a free port, and return it."""
        self._server = await asyncio.start_server(self._connected, host, 0, backlog=4096)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def stop(self) -> None:
        """Take no more requests; those at work are finished."""
        if self._server:
            self._server.close()

    async def aclose(self) -> None:
        """End everything, requests at work too."""
        self.stop()
        # A task that is cancelled before its first step can't close what it was to look after.
        connections = dict(self._connections)
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        for writer in connections.values():
            await _close(writer)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections[task] = writer
        task.add_done_callback(self._connections.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (text.partition(": ") for text in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            if told := await self._answer(Asked(line, body, reader)):
                status, content = told[0], json.dumps(told[1]).encode()
                head = [
                    f"HTTP/1.1 {status} Whatever",
                    "content-type: application/json",
                    "connection: close",
                    f"content-length: {len(content)}",
                    *self._headers,
                ]
                writer.write("\r\n".join([*head, "", ""]).encode() + content)
                await writer.drain()
        await _close(writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
