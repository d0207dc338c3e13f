"""The replica that every side asks: answers at once, with a small picture, a large one or a stream that stays open.

    python -m bench.gateway.upstream PORT

Which one a request gets, its body says: `"large"` in it, `"stream"`, or neither.
"""

import asyncio
import json
import sys

import uvloop

SMALL_BYTES = 1_000
LARGE_BYTES = 1_400_000


def _answer(size: int) -> bytes:
    body = json.dumps({"created": 1, "data": [{"b64_json": "A" * size}], "output_format": "png"}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


_SMALL, _LARGE = _answer(SMALL_BYTES), _answer(LARGE_BYTES)
_EVENT = b'data: {"type": "image_generation.partial_image", "b64_json": "%b"}\n\n' % (b"A" * SMALL_BYTES)
_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (
    len(_EVENT),
    _EVENT,
)


class Replica(asyncio.Protocol):
    """One connection, with as many requests as are sent on it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin with nothing read."""
        self._transport = transport
        self._data = b""

    def data_received(self, data: bytes) -> None:
        """Answer each request that is whole by now."""
        self._data += data
        while True:
            head, end, rest = self._data.partition(b"\r\n\r\n")
            if not end:
                return
            length, closes = 0, False
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    length = int(line[15:])
                closes = closes or line == b"connection: close"
            if len(rest) < length:
                return
            body, self._data = rest[:length], rest[length:]
            self._serve(body, closes=closes)

    def _serve(self, body: bytes, *, closes: bool) -> None:
        if b'"stream"' in body:
            self._transport.write(_STREAM)
            return
        self._transport.write(_LARGE if b"large" in body else _SMALL)
        if closes:
            self._transport.close()


async def _run(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Replica, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_run(int(sys.argv[1])))
