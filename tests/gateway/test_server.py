"""Connections of clients that are slow, rude, many, or speak something else."""

import contextlib
import json
import re
import resource
import socket
import threading
import time
from urllib.parse import urlsplit

import httpx
import pytest

from cluster.waiting import eventually
from gateway.peers import Peer, answer, hold, say
from gateway.running import Gateway, StartGateway
from heliograph_gateway.server import prepare_process

IMAGES = {"created": 1, "data": [{"b64_json": "AAAA"}]}
GET = b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n"
BODY = b'{"model": "tiny", "prompt": "a circle"}'
POST = b"POST /v1/images/generations HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
DRAW = POST + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_PATIENCE = 20.0


def connect(gateway: Gateway) -> socket.socket:
    address = urlsplit(gateway.url)
    return socket.create_connection((address.hostname, address.port or 0), timeout=_PATIENCE)


def read_all(connection: socket.socket) -> bytes:
    """Return what comes until the other side closes."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65_536):
            received += part
    return received


def statuses(received: bytes) -> list[int]:
    return [int(status) for status in _STATUS.findall(received)]


def error_of(received: bytes) -> dict[str, str]:
    error: dict[str, str] = json.loads(received.rpartition(b"\r\n\r\n")[2])["error"]
    return error


@pytest.mark.parametrize("sent", [b"", b"GET /v1/mod", b"GET /v1/models HTTP/1.1\r\nHost: a\r\nX-A", b"\r\n\r\n"])
def test_a_head_must_come_in_time(start_gateway: StartGateway, sent: bytes) -> None:
    gateway = start_gateway(header_seconds=0.5)
    with connect(gateway) as connection:
        connection.sendall(sent)
        received = read_all(connection)
    assert statuses(received) == [408]
    assert error_of(received)["code"] == "request_timeout"


def test_a_head_that_dribbles_in_is_not_waited_for(start_gateway: StartGateway) -> None:
    gateway = start_gateway(header_seconds=1)
    with connect(gateway) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(GET[:-2])
        for number in range(200):
            connection.sendall(b"X-%d: y\r\n" % number)
            time.sleep(0.05)
    with connect(gateway) as connection:
        connection.sendall(GET[:-2] + b"Connection: close\r\n\r\n")
        assert statuses(read_all(connection)) == [200]


def test_the_head_of_a_second_request_must_come_in_time_too(start_gateway: StartGateway) -> None:
    gateway = start_gateway(header_seconds=0.5)
    with connect(gateway) as connection:
        connection.sendall(GET + b"GET /v1")
        assert statuses(read_all(connection)) == [200, 408]


def test_a_connection_waits_longer_for_its_next_request(start_gateway: StartGateway) -> None:
    gateway = start_gateway(header_seconds=0.3, keep_alive_seconds=4)
    with connect(gateway) as connection:
        connection.sendall(GET)
        time.sleep(2.5)
        connection.sendall(GET)
        assert statuses(read_all(connection)) == [200, 200]


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"body_seconds": 0.5}, id="silent"),
        pytest.param({"body_seconds": 2.0, "min_bytes_per_second": 100_000}, id="slow"),
    ],
)
def test_a_body_must_come_in_time(start_gateway: StartGateway, settings: dict[str, float]) -> None:
    gateway = start_gateway(**settings)
    left = threading.Event()

    def dribble(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not left.wait(0.3 if "min_bytes_per_second" in settings else 60):
                connection.sendall(b" ")

    with connect(gateway) as connection:
        connection.sendall(POST + b"Content-Length: 1000\r\n\r\n{")
        sender = threading.Thread(target=dribble, args=(connection,))
        sender.start()
        received = read_all(connection)
        left.set()
        sender.join()
    assert statuses(received) == [408]
    assert error_of(received)["code"] == "request_timeout"
    gateway.expect_metric(1, "heliograph_gateway_requests_total", status="408")


def test_the_rest_of_a_body_that_is_answered_is_not_waited_for(start_gateway: StartGateway) -> None:
    gateway = start_gateway(body_seconds=0.5)
    with connect(gateway) as connection:
        connection.sendall(GET[:-2] + b"Content-Length: 1000\r\n\r\n{")
        assert statuses(read_all(connection)) == [200]


def test_a_client_that_does_not_read_is_cut_and_its_work_ended(start_gateway: StartGateway) -> None:
    left = threading.Event()

    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(b"data: " + b"x" * 500_000 + b"\n\n")
        left.set()

    with Peer(flood) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint], write_seconds=1)
        with connect(gateway) as connection:
            connection.sendall(DRAW)
            assert left.wait(_PATIENCE)
        gateway.wait_until_idle()


def test_a_client_that_reads_slowly_is_not_cut(start_gateway: StartGateway) -> None:
    size = 40_000_000
    with Peer(answer(200, {"created": 1, "data": [{"b64_json": "A" * size}]})) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint], write_seconds=1)
        with connect(gateway) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            connection.sendall(DRAW[: -len(BODY) - 2] + b"Connection: close\r\n\r\n" + BODY)
            received, slow_until = 0, time.monotonic() + 6
            while part := connection.recv(65_536):
                received += len(part)
                time.sleep(0.02 if time.monotonic() < slow_until else 0)
    assert received > size


def test_idle_connections_make_room_for_new_ones(start_gateway: StartGateway) -> None:
    gateway = start_gateway(max_connections=4)
    with contextlib.ExitStack() as opened:
        idle = [opened.enter_context(connect(gateway)) for _ in range(4)]
        for connection in idle:
            connection.sendall(GET)
            assert statuses(connection.recv(65_536)) == [200]
        newest = opened.enter_context(connect(gateway))
        newest.sendall(GET)
        assert statuses(newest.recv(65_536)) == [200]


def test_busy_connections_make_no_room(start_gateway: StartGateway) -> None:
    go = threading.Event()

    def work(connection: socket.socket) -> None:
        assert go.wait(_PATIENCE)
        answer(200, IMAGES)(connection)

    with Peer(work) as peer, contextlib.ExitStack() as opened:
        gateway = start_gateway(endpoints=[peer.endpoint], max_connections=3)
        busy = [opened.enter_context(connect(gateway)) for _ in range(3)]
        for connection in busy:
            connection.sendall(DRAW)
        eventually(lambda: len(peer.requests) == 3, what="three requests at work")
        with connect(gateway) as refused:
            received = read_all(refused)
        assert statuses(received) == [503]
        assert error_of(received)["code"] == "overloaded"
        assert b"retry-after: 5\r\n" in received
        go.set()
        for connection in busy:
            assert statuses(connection.recv(65_536)) == [200]


def test_a_refusal_comes_behind_the_answers_before_it(start_gateway: StartGateway) -> None:
    with Peer(answer(200, IMAGES)) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint])
        with connect(gateway) as connection:
            connection.sendall(DRAW + DRAW + b"nonsense\r\n\r\n" + DRAW)
            received = read_all(connection)
        assert statuses(received) == [200, 200, 400]
        assert error_of(received)["code"] == "invalid_http"
        assert len(peer.requests) == 2


def test_a_request_whose_body_is_malformed_is_refused_behind_the_one_at_work(start_gateway: StartGateway) -> None:
    with Peer(answer(200, IMAGES)) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint])
        with connect(gateway) as connection:
            connection.sendall(DRAW + POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n")
            received = read_all(connection)
        assert statuses(received) == [200, 400]
        assert len(peer.requests) == 1
        gateway.wait_until_idle()


def test_a_client_that_leaves_with_requests_sent_ahead_ends_the_work(start_gateway: StartGateway) -> None:
    left = threading.Event()
    with Peer(hold(left)) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint])
        with connect(gateway) as connection:
            connection.sendall(DRAW + DRAW)
            eventually(lambda: peer.requests, what="first request at work")
        assert left.wait(_PATIENCE)
        gateway.wait_until_idle()


def test_too_many_requests_sent_ahead_are_refused(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    with connect(gateway) as connection:
        connection.sendall(GET * 200)
        received = read_all(connection)
    assert statuses(received)[:1] == [200]
    assert statuses(received)[-1] == 400
    assert len(statuses(received)) <= 70


def test_what_a_refused_client_still_sends_does_not_cost_it_the_answer(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    for _ in range(20):
        with connect(gateway) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(GET[:-2] + b"X: " + b"y" * 2_000_000)
            assert statuses(read_all(connection)) == [400]


def test_another_protocol_is_not_spoken(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    upgrade = GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    with connect(gateway) as connection:
        connection.sendall(upgrade + upgrade + GET[:-2] + b"Connection: close\r\n\r\n")
        assert statuses(read_all(connection)) == [200, 200, 200]


def test_a_body_in_many_small_chunks_arrives(start_gateway: StartGateway) -> None:
    chunks = b"".join(b"1;a=b\r\n%c\r\n" % byte for byte in BODY + b" " * 20_000) + b"0\r\nX-Trailer: a\r\n\r\n"
    with Peer(answer(200, IMAGES)) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint])
        with connect(gateway) as connection:
            connection.sendall(POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
            assert statuses(read_all(connection)) == [200]
        assert peer.requests[0].body.strip() == BODY


def test_answers_without_a_length_reach_the_client_whole(start_gateway: StartGateway) -> None:
    events = b"data: 1\n\n" * 1000
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    with Peer(say(head + events)) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint])
        received = httpx.post(
            f"{gateway.url}/v1/images/generations", content=BODY, headers={"content-type": "application/json"}
        )
    assert received.content.startswith(events)


def test_a_process_that_serves_takes_all_descriptors_that_it_may_have() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard - 1, hard))
    try:
        prepare_process()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
