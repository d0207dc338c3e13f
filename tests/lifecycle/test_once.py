"""Runtimes that fail once a request has reached them, under the stock client of OpenAI: the work is done once."""

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest

from cluster.addresses import free_port
from cluster.leash import Leash
from cluster.waiting import eventually
from gateway.peers import Behaviour, Peer, answer, refusing_endpoint, reset, say
from heliograph_gateway.routing import Endpoint
from hostile.lone_gateway import lone_gateway
from lifecycle.rig import counting_command, is_ready
from runtime.runtimes import TINY, write_manifest
from runtime.scripted_worker import DEADLY, SLOW

IMAGES = {"created": 1, "data": [{"b64_json": "AAAA"}], "output_format": "png"}
ENVELOPE = {"error": {"message": "It failed.", "type": "server_error", "param": None, "code": "failed"}}
_LONGER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n"
_CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"


_SLOW_ONES = 4
_BODY = b'{"model": "tiny", "prompt": "a circle"}'
_ASKED = (
    b"POST /v1/images/generations HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n" % len(_BODY) + _BODY
)

AFTER_DISPATCH: dict[str, Behaviour] = {
    "500": answer(500, ENVELOPE),
    "502": answer(502, b"<h1>Bad gateway</h1>", content_type="text/html"),
    "503 without saying when": answer(503, ENVELOPE),
    "409": answer(409, ENVELOPE, "x-should-retry: false"),
    "a reset once the body was read": reset(),
    "an end once the body was read": say(b""),
    "a reset in the head": reset(b"HTTP/1.1 200 OK\r\ncontent-"),
    "a reset in the body": reset(_LONGER + b'{"created":'),
    "an end in the body": say(_LONGER + b'{"created":'),
    "a reset between chunks": reset(_CHUNKED + b'b\r\n{"created":\r\n'),
    "an end between chunks": say(_CHUNKED + b'b\r\n{"created":\r\n'),
    "a body that is no JSON": answer(200, b"<html>"),
    "noise": say(b"\x16\x03\x01\x00\x00"),
}


def ask(url: str, **more: object) -> None:
    """Ask as the stock client does: its retries and time limits are its own."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        client.images.generate(model="tiny", prompt="a circle", response_format="url", **more)  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def behaving() -> Iterator[tuple[list[Peer], Callable[[Behaviour], None]]]:
    """Two replicas, and how to make both behave."""
    with Peer(say(b"")) as one, Peer(say(b"")) as two:

        def behave(behaviour: Behaviour) -> None:
            for peer in (one, two):
                peer.behaviour = behaviour
                peer.requests.clear()

        yield [one, two], behave


@pytest.fixture(scope="module")
def url(
    behaving: tuple[list[Peer], Callable[[Behaviour], None]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    places = [peer.endpoint for peer in behaving[0]]
    # Pictures as links, so that the gateway must have the whole answer first.
    with lone_gateway(tmp_path_factory.mktemp("gateway"), places, response_format="url") as gateway:
        yield gateway.url


@pytest.mark.parametrize("name", AFTER_DISPATCH)
def test_what_reached_a_runtime_is_done_once(
    url: str, behaving: tuple[list[Peer], Callable[[Behaviour], None]], name: str
) -> None:
    peers, behave = behaving
    behave(AFTER_DISPATCH[name])
    with pytest.raises(openai.APIStatusError) as caught:
        ask(url)
    assert caught.value.message
    assert sum(len(peer.requests) for peer in peers) == 1


def test_what_reached_no_runtime_goes_to_the_next(tmp_path: Path) -> None:
    images = {"created": 1, "data": [{"b64_json": "iVBORw0KGgo="}], "output_format": "png", "size": "8x8"}
    with (
        Peer(answer(200, images)) as peer,
        refusing_endpoint() as refusing,
        lone_gateway(tmp_path, [refusing, peer.endpoint]) as gateway,
    ):
        for _ in range(6):
            ask(gateway.url)
        assert len(peer.requests) == 6


def test_a_runtime_whose_process_is_killed(tmp_path: Path) -> None:
    counted, port = tmp_path / "counted", free_port()
    places = [Endpoint("127.0.0.1", port)]
    command, environment = counting_command(write_manifest(tmp_path, TINY), "127.0.0.1", port, counted)
    with (
        Peer(answer(200, IMAGES)) as other,
        Leash(command, log=tmp_path / "runtime.log", env=environment, grace=0) as leash,
        lone_gateway(tmp_path, places) as gateway,
        ThreadPoolExecutor(1) as pool,
    ):
        leash.wait_until(lambda: is_ready(port))
        asked = pool.submit(ask, gateway.url, extra_body={"prompt": f"{SLOW} long", "steps": 900, "seed": 1})
        eventually(lambda: counted.exists() and "begun" in counted.read_text(), what="work")
        leash.send_signal(signal.SIGKILL)
        with pytest.raises(openai.InternalServerError) as caught:
            asked.result(60)
        assert (caught.value.status_code, caught.value.code) == (502, "upstream_failed")
        assert other.requests == []
    assert counted.read_text().splitlines() == [f"begun {SLOW} long"]


def test_a_worker_that_is_killed(tmp_path: Path) -> None:
    counted, port = tmp_path / "counted", free_port()
    command, environment = counting_command(write_manifest(tmp_path, TINY), "127.0.0.1", port, counted)
    with (
        Leash(command, log=tmp_path / "runtime.log", env=environment) as leash,
        lone_gateway(tmp_path, [Endpoint("127.0.0.1", port)]) as gateway,
    ):
        leash.wait_until(lambda: is_ready(port))
        with pytest.raises(openai.InternalServerError):
            ask(gateway.url, extra_body={"prompt": DEADLY, "seed": 1})
    assert counted.read_text().splitlines() == [f"begun {DEADLY}"]


def test_clients_that_read_slowly_hold_up_nobody(tmp_path: Path) -> None:
    large = b'{"created": 1, "data": [{"b64_json": "' + b"A" * 8_000_000 + b'"}]}'
    done = threading.Event()
    small = answer(200, IMAGES)

    def behave(connection: socket.socket) -> None:
        (answer(200, large) if len(peer.requests) <= _SLOW_ONES else small)(connection)

    def read_slowly(port: int) -> int:
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            connection.settimeout(60)
            connection.connect(("127.0.0.1", port))
            connection.sendall(_ASKED)
            received = len(connection.recv(1000))
            done.wait(60)
            while part := connection.recv(1_000_000):
                received += len(part)
            return received

    with (
        Peer(behave) as peer,
        lone_gateway(tmp_path, [peer.endpoint]) as gateway,
        ThreadPoolExecutor(_SLOW_ONES) as pool,
    ):
        slow = [pool.submit(read_slowly, gateway.port) for _ in range(_SLOW_ONES)]
        try:
            eventually(lambda: len(peer.requests) == _SLOW_ONES, what="slow readers")
            for _ in range(20):
                ask(gateway.url, extra_body={"response_format": "b64_json"})
            assert not any(one.done() for one in slow)
        finally:
            done.set()
        # They get all of it in the end.
        assert all(one.result() > len(large) for one in slow)
