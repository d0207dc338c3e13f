"""The client of every side, in a process of its own: prints one line of JSON.

    python -m bench.gateway.client latency PORT COUNT small|large
    python -m bench.gateway.client throughput PORT SECONDS CONNECTIONS
    python -m bench.gateway.client streams PORT COUNT

`streams` opens as many as it is told, prints how many there are, and holds them until its standard input ends.
"""

import asyncio
import json
import socket
import statistics
import sys
import time

import httptools
import uvloop

_PATIENCE = 60.0


def request(kind: str, port: int) -> bytes:
    """Return a request, which is the same for every side."""
    body: dict[str, object] = {"model": "tiny", "prompt": kind, "n": 1, "response_format": "b64_json"}
    if kind == "stream":
        body = {"model": "tiny", "prompt": "a circle", "stream": True}
    content = json.dumps(body).encode()
    head = (
        f"POST /v1/images/generations HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer none\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


class _Answer:
    """What the parser tells of one answer after the other."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.whole = 0
        self.failed = 0

    def on_message_complete(self) -> None:
        self.whole += 1
        self.failed += self.parser.get_status_code() != 200


def latency(port: int, count: int, kind: str) -> dict[str, object]:
    """Return the milliseconds that one of so many requests took, one after the other on one connection."""
    seconds, buffer = [], bytearray(1 << 20)
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data, answer = request(kind, port), _Answer()
        for number in range(count):
            began = time.perf_counter()
            connection.sendall(data)
            while answer.whole == number:
                size = connection.recv_into(buffer)
                if not size:
                    raise ConnectionError("closed inside an answer")
                answer.parser.feed_data(memoryview(buffer)[:size])
            seconds.append(time.perf_counter() - began)
    return {"failed": answer.failed, **_percentiles(seconds)}


class _Asker(asyncio.Protocol):
    """One connection that asks again as soon as it is answered."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.answer = _Answer()
        self.seconds: list[float] = []
        self.lost = False
        self._began = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Ask for the first time."""
        self.transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        """Ask again once an answer is whole."""
        before = self.answer.whole
        self.answer.parser.feed_data(data)
        if self.answer.whole > before:
            self.seconds.append(time.perf_counter() - self._began)
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's interface
        """Count a connection that the other side ends: it asks no more, however well it was served before."""
        self.lost = True

    def waited(self) -> float:
        """Return the seconds since it asked last."""
        return time.perf_counter() - self._began

    def _ask(self) -> None:
        self._began = time.perf_counter()
        self.transport.write(self._data)


async def throughput(port: int, seconds: float, connections: int) -> dict[str, object]:
    """Return how many requests were answered in so many seconds, and how long each took."""
    loop = asyncio.get_running_loop()
    askers = [_Asker(request("small", port)) for _ in range(connections)]
    began = loop.time()
    for asker in askers:
        await loop.create_connection(lambda asker=asker: asker, "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.sleep(seconds)
    took = loop.time() - began
    answers = [each for asker in askers for each in asker.seconds]
    if not answers:
        raise SystemExit("nothing was answered")
    lost = [asker for asker in askers if asker.lost]
    # Each other connection has a request on its way, which took so long at least.
    waits = [asker.waited() for asker in askers if not asker.lost]
    longest = max(answers)
    for asker in askers:
        asker.transport.abort()
    return {
        "answered": len(answers),
        "failed": sum(asker.answer.failed for asker in askers) + len(lost),
        "open": len(waits),
        "took": took,
        **_percentiles(answers + [wait for wait in waits if wait > longest]),
    }


async def streams(port: int, count: int) -> None:
    """Open so many streams, say so, and hold them until the standard input ends."""
    opened = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request("stream", port))
        opened.append((reader, writer))
    for reader, _ in opened:
        await asyncio.wait_for(reader.readuntil(b"data: "), _PATIENCE)
    print(json.dumps({"open": len(opened)}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for _, writer in opened:
        writer.transport.abort()


def _percentiles(seconds: list[float]) -> dict[str, float]:
    # The other method makes up times beyond the longest where there are few.
    p99 = statistics.quantiles(seconds, n=100, method="inclusive")[98]
    return {"p50": 1000 * statistics.median(seconds), "p99": 1000 * p99}


def main() -> None:
    what, port, *rest = sys.argv[1], int(sys.argv[2]), *sys.argv[3:]
    if what == "latency":
        print(json.dumps(latency(port, int(rest[0]), rest[1])))
    elif what == "throughput":
        print(json.dumps(uvloop.run(throughput(port, float(rest[0]), int(rest[1])))))
    else:
        uvloop.run(streams(port, int(rest[0])))


if __name__ == "__main__":
    main()
