"""One request to one replica, over connections of its own."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.waiting import eventually
from gateway.manifests import image_model
from gateway.peers import Behaviour, Peer, answer, hold, refusing_endpoint, reset, say
from heliograph_api.errors import APIError
from heliograph_gateway import payloads
from heliograph_gateway.body import IN_MEMORY, Bodies, Body
from heliograph_gateway.health import Health
from heliograph_gateway.load import Loads
from heliograph_gateway.metrics import Metrics
from heliograph_gateway.names import Route
from heliograph_gateway.replicas import Answer, NotConnectedError, Order, QueueFullError, Replicas
from heliograph_gateway.routing import Endpoint, RoutingTable
from heliograph_gateway.settings import GatewaySettings

ROUTE = Route(image_model("tiny"))
FULL = {"error": {"message": "64 wait.", "type": "rate_limit_error", "param": None, "code": "queue_full"}}
JSON = {"content-type": "application/json"}


def ask(endpoint: Endpoint, *, body: bytes | Body = b"{}", **settings: Any) -> tuple[Answer, bytes]:
    """Return the answer of a replica and its body."""

    async def use(replicas: Replicas) -> tuple[Answer, bytes]:
        async with replicas.answer(endpoint, ROUTE, Order("/v1/images/generations", body, JSON, "id-1")) as found:
            return found, b"".join([part async for part in found.parts])

    found: tuple[Answer, bytes] = with_replicas(use, **settings)
    return found


def with_replicas(use: Callable[[Replicas], Awaitable[Any]], **settings: Any) -> Any:
    async def run() -> Any:
        metrics = Metrics(RoutingTable(), Health(), Loads())
        replicas = Replicas(GatewaySettings(**settings), metrics)
        try:
            return await use(replicas)
        finally:
            await replicas.aclose()

    return asyncio.run(run())


def test_an_answer_comes_as_it_is_sent() -> None:
    with Peer(answer(201, b"\x1f\x8bnot really gzip", "content-encoding: gzip", "set-cookie: a=b")) as peer:
        found, body = ask(peer.endpoint)
    assert (found.status, body) == (201, b"\x1f\x8bnot really gzip")
    assert found.headers["Content-Encoding"] == "gzip"


def test_each_request_has_a_connection_of_its_own() -> None:
    connections = []

    def behave(connection: socket.socket) -> None:
        connections.append(connection.getpeername())
        answer(200, b"{}")(connection)

    async def use(replicas: Replicas) -> None:
        for _ in range(3):
            async with replicas.answer(peer.endpoint, ROUTE, Order("/a", b"{}", JSON, "id")) as found:
                assert b"".join([part async for part in found.parts]) == b"{}"

    with Peer(behave) as peer:
        with_replicas(use)
        assert len(set(connections)) == 3
        assert all(request.headers["connection"] == "close" for request in peer.requests)
        assert all("cookie" not in request.headers for request in peer.requests)


def test_a_request_that_surely_reached_nobody_is_told_from_others() -> None:
    with refusing_endpoint() as endpoint, pytest.raises(NotConnectedError):
        ask(endpoint)


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [(reset(), 502), (say(b""), 502), (say(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}"), 502)],
    ids=["reset", "closed", "cut off"],
)
def test_a_replica_that_breaks_off(behaviour: Behaviour, status: int) -> None:
    with Peer(behaviour) as peer, pytest.raises(APIError) as caught:
        ask(peer.endpoint)
    assert (caught.value.status, caught.value.headers["x-should-retry"]) == (status, "false")


def test_a_replica_that_is_silent() -> None:
    with Peer(hold(threading.Event())) as peer, pytest.raises(APIError) as caught:
        ask(peer.endpoint, read_timeout=0.2)
    assert (caught.value.status, caught.value.code) == (504, "upstream_timeout")


@pytest.mark.parametrize(
    ("ending", "status"),
    [(say(b""), 502), (reset(), 502), (hold(threading.Event()), 504)],
    ids=["closed", "reset", "silent"],
)
def test_events_that_came_before_a_break_are_not_lost(ending: Behaviour, status: int) -> None:
    def stream(connection: socket.socket) -> None:
        say(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\ndata: 1\n\n")(connection)
        ending(connection)

    passed: list[bytes] = []

    async def use(replicas: Replicas) -> None:
        async with replicas.answer(peer.endpoint, ROUTE, Order("/a", b"{}", JSON, "id", stream=True)) as found:
            # A client that is slow to read: the connection breaks meanwhile.
            await asyncio.sleep(0.5)
            passed.append(await anext(aiter(found.parts)))
            await anext(aiter(found.parts))

    with Peer(stream) as peer, pytest.raises(APIError) as caught:
        with_replicas(use, read_timeout=0.2)
    assert (passed, caught.value.status) == ([b"data: 1\n\n"], status)


def test_a_replica_without_room() -> None:
    with Peer(answer(429, FULL, "retry-after: 7")) as peer, pytest.raises(QueueFullError) as caught:
        ask(peer.endpoint)
    assert caught.value.refusal.headers == {"retry-after": "7"}


def test_redirects_are_not_followed() -> None:
    with Peer(answer(200, b"{}")) as other, Peer(answer(307, b"", f"location: {other.endpoint.url}/")) as peer:
        with pytest.raises(APIError) as caught:
            ask(peer.endpoint)
        assert caught.value.status == 502
        assert other.requests == []


def test_leaving_closes_the_connection() -> None:
    left = threading.Event()

    def stream(connection: socket.socket) -> None:
        say(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n")(connection)
        hold(left)(connection)

    async def use(replicas: Replicas) -> None:
        async with replicas.answer(peer.endpoint, ROUTE, Order("/a", b"{}", JSON, "id")) as found:
            assert await anext(aiter(found.parts)) == b"data: 1\n\n"
        assert await asyncio.to_thread(left.wait, 10)

    with Peer(stream) as peer:
        with_replicas(use)


def test_cancelling_closes_the_connection() -> None:
    left = threading.Event()

    async def use(replicas: Replicas) -> None:
        async def wait() -> None:
            async with replicas.answer(peer.endpoint, ROUTE, Order("/a", b"{}", JSON, "id")):
                pass

        waiting = asyncio.create_task(wait())
        await asyncio.to_thread(eventually, lambda: peer.requests, what="request at work")
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        assert await asyncio.to_thread(left.wait, 10)

    with Peer(hold(left)) as peer:
        with_replicas(use)


def test_a_body_in_a_file_is_sent_with_its_length_to_each_replica() -> None:
    content = os.urandom(IN_MEMORY + 12_345)

    async def use(replicas: Replicas) -> None:
        body = Body(Bodies(GatewaySettings()))
        try:
            await body.append(content)
            await body.end()
            for peer in (one, two):
                async with replicas.answer(peer.endpoint, ROUTE, Order("/a", body, JSON, "id")) as found:
                    assert found.status == 200
        finally:
            body.close()

    with Peer(answer(200, b"{}")) as one, Peer(answer(200, b"{}")) as two:
        with_replicas(use)
        for peer in (one, two):
            (request,) = peer.requests
            assert request.body == content
            assert request.headers["content-length"] == str(len(content))
            assert "transfer-encoding" not in request.headers


@contextlib.contextmanager
def early(behave: Callable[[socket.socket], None]) -> Iterator[Endpoint]:
    """A replica that does what it is told as soon as somebody is connected, whatever was sent by then."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = server.accept()
            connection.settimeout(10)
            with connection:
                behave(connection)

    with socket.create_server(("127.0.0.1", 0)) as server:
        serving = threading.Thread(target=serve)
        serving.start()
        yield Endpoint(*server.getsockname())
        serving.join(20)


def test_an_answer_that_begins_before_the_request_is_whole() -> None:
    content = os.urandom(20_000_000)

    def behave(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n")
        received = b""
        while len(received) < len(content):
            time.sleep(0.001)
            received += connection.recv(1 << 20)
        connection.sendall(b"all here" if received.endswith(content[-1000:]) else b"not here")

    with early(behave) as endpoint:
        _, body = ask(endpoint, body=content)
    assert body == b"all here"


@pytest.mark.parametrize("has_begun", [False, True])
def test_a_replica_that_takes_nothing_of_a_request(*, has_begun: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payloads, "_WRITE_SECONDS", 0.5)
    left = threading.Event()

    def behave(connection: socket.socket) -> None:
        if has_begun:
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n")
        assert left.wait(10)

    with early(behave) as endpoint:
        try:
            with pytest.raises(APIError) as caught:
                ask(endpoint, body=bytes(40_000_000))
        finally:
            left.set()
    assert (caught.value.status, caught.value.code) == (504, "upstream_timeout")


_ASK_ONCE = """
import asyncio, pathlib, sys, uvloop
from gateway.test_replicas import JSON, ROUTE
from heliograph_gateway.health import Health
from heliograph_gateway.load import Loads
from heliograph_gateway.metrics import Metrics
from heliograph_gateway.replicas import Order, Replicas
from heliograph_gateway.routing import Endpoint, RoutingTable
from heliograph_gateway.settings import GatewaySettings

async def main():
    replicas = Replicas(GatewaySettings(), Metrics(RoutingTable(), Health(), Loads()))
    async with replicas.answer(Endpoint("127.0.0.1", int(sys.argv[1])), ROUTE, Order("/a", b"{}", JSON, "id")) as found:
        print(found.status)
    await replicas.aclose()

uvloop.run(main())
print(*(path.read_text().strip() for path in pathlib.Path("/proc/self/task").glob("*/comm")))
"""


def test_an_address_is_not_looked_up() -> None:
    with Peer(answer(200, b"{}")) as peer:
        command = [sys.executable, "-c", _ASK_ONCE, str(peer.endpoint.port)]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    status, threads = done.stdout.splitlines()
    assert status == "200"
    assert "libuv-worker" not in threads
