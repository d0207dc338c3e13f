"""One request to one replica, over connections of its own."""

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cluster.waiting import eventually
from gateway.manifests import image_model
from gateway.peers import Behaviour, Peer, answer, hold, refusing_endpoint, reset, say
from heliograph_api.errors import APIError
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
