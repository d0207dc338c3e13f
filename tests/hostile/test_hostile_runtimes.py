"""Runtimes that mean harm: what they answer is bounded, and nothing of it is passed on that should not be."""

import contextlib
import gzip
import itertools
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest

from gateway.peers import Behaviour, Peer, answer, say
from hostile.exchanges import GENERATIONS, check_envelope, check_text
from hostile.lone_gateway import LoneGateway, lone_gateway

MOST = 4 * 1024 * 1024
GROWTH = 128 * 1024 * 1024
_JSON = "content-type: application/json\r\n"
_OK = f"HTTP/1.1 200 OK\r\n{_JSON}".encode()
_EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
_IMAGES = {"created": 1, "data": [{"b64_json": "iVBORw0KGgo="}], "output_format": "png", "size": "8x8"}
_SECRET = "canary-of-the-runtime"


def endless(start: bytes, part: bytes, *, pause: float = 0.0) -> Behaviour:
    """Send the same bytes over and over, until nobody takes them."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(start)
        with contextlib.suppress(OSError):
            for _ in itertools.count():
                connection.sendall(part)
                time.sleep(pause)

    return behave


def _interim(count: int) -> Behaviour:
    content = json.dumps(_IMAGES).encode()
    head = _OK + b"content-length: %d\r\n\r\n" % len(content)
    return say(b"HTTP/1.1 103 Early Hints\r\nlink: <http://169.254.169.254>\r\n\r\n" * count + head + content)


_BOMB = gzip.compress(bytes(200_000_000), compresslevel=9)
ANSWERS: dict[str, tuple[Behaviour, set[int]]] = {
    "garbage": (say(b"\x00\xff\x13\x37" * 1000), {502}),
    "garbage without end": (endless(b"", b"\x00\xff\x13\x37" * 1000), {502}),
    "a status line without end": (endless(b"HTTP/1.1 200 ", b"O" * 65_536), {502}),
    "a header without end": (endless(_OK + b"x: ", b"y" * 65_536), {502}),
    "headers without end": (endless(_OK, b"x: y\r\n" * 1000), {502}),
    "a body without end": (endless(_OK + b"\r\n", b" " * 65_536), {502}),
    "chunks without end": (
        endless(_OK + b"transfer-encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 65_536 + b"\r\n"),
        {502},
    ),
    "a body of one byte at a time": (endless(_OK + b"content-length: 50\r\n\r\n", b" ", pause=0.05), {502}),
    "silence": (endless(b"", b"", pause=30), {504}),
    "silence after the head": (endless(_OK + b"content-length: 50\r\n\r\n", b"", pause=30), {504}),
    "a redirect": (answer(302, b"", "location: http://169.254.169.254/", f"x-secret: {_SECRET}"), {502}),
    "a redirect that keeps the method": (answer(307, b"", "location: http://127.0.0.1:1/"), {502}),
    "another protocol": (
        say(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n"),
        {502},
    ),
    "a bomb": (answer(200, _BOMB, "content-encoding: gzip"), {502}),
    "an error that is a bomb": (answer(400, _BOMB, "content-encoding: gzip"), {400}),
    "an error without end": (endless(b"HTTP/1.1 500 No\r\n\r\n", b"x" * 65_536), {500}),
    "a length below zero": (say(_OK + b"content-length: -1\r\n\r\n{}"), {502}),
    "two lengths": (say(_OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}x"), {502}),
    "a length and chunks": (
        say(_OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
        {502},
    ),
    "a chunk below zero": (say(_OK + b"transfer-encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n"), {502}),
    "deep JSON": (answer(200, b"[" * 200_000), {502}),
    "numbers without end": (answer(200, b'{"data": [{"b64_json": ' + b"9" * 10_000 + b"}]}"), {502}),
    "pictures that are none": (answer(200, _IMAGES | {"data": [{"b64_json": ["a"]}]}), {502}),
    "an odd format": (answer(200, _IMAGES | {"output_format": "../../etc/passwd"}), {502}),
    "a type of its own": (
        answer(200, _IMAGES | {"data": [{"b64_json": "AAAA", "mime_type": "text/html"}]}),
        {200, 502},
    ),
    "no answer to the question": (answer(204, b""), {502}),
    "hints before the answer": (_interim(20), {200}),
}


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    with Peer(answer(200, _IMAGES)) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(peer: Peer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoneGateway]:
    folder = tmp_path_factory.mktemp("gateway")
    settings: dict[str, Any] = {"read_timeout": "2", "response_format": "url", "max_answer_bytes": str(MOST)}
    with lone_gateway(folder, [peer.endpoint], **settings) as running:
        assert draw(running, peer, answer(200, _IMAGES)).status_code == 200
        yield running


def draw(gateway: LoneGateway, peer: Peer, behaviour: Behaviour, **asked: object) -> httpx.Response:
    peer.behaviour = behaviour
    peer.requests.clear()
    body = {"model": "tiny", "prompt": "a circle", **asked}
    return httpx.post(f"{gateway.url}{GENERATIONS}", json=body, timeout=60, trust_env=False)


@pytest.fixture(autouse=True)
def unharmed_gateway(gateway: LoneGateway, peer: Peer) -> Iterator[None]:
    """The gateway is the same after each test, no larger than it may be, and draws."""
    process = psutil.Process(gateway.leash.pid)
    before = process.memory_info().rss
    yield
    assert process.memory_info().rss - before < GROWTH
    assert draw(gateway, peer, answer(200, _IMAGES)).status_code == 200
    assert "cookie" not in peer.requests[0].headers
    assert "Traceback" not in gateway.leash.log.read_text()


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_means_harm(gateway: LoneGateway, peer: Peer, name: str) -> None:
    behaviour, statuses = ANSWERS[name]
    got = draw(gateway, peer, behaviour)
    assert got.status_code in statuses, got.text[:2000]
    if got.status_code >= 400:
        check_envelope(got)
        check_text(got.text)
    assert len(peer.requests) == 1
    assert not {"location", "link", "upgrade", "set-cookie", "x-secret"} & set(got.headers)
    assert _SECRET not in got.text


def test_headers_of_a_runtime_stay_behind(gateway: LoneGateway, peer: Peer) -> None:
    names = (
        "set-cookie", "location", "refresh", "x-accel-redirect", "x-sendfile", "access-control-allow-origin", "server",
        "www-authenticate", "strict-transport-security", "content-security-policy", "clear-site-data", "alt-svc",
        "x-request-id", "link", "x-heliograph-usage", "trailer", "via",
    )  # fmt: skip
    for asked in ({}, {"response_format": "b64_json"}):
        got = draw(gateway, peer, answer(200, _IMAGES, *(f"{name}: {_SECRET}" for name in names)), **asked)
        assert got.status_code == 200
        assert not any(_SECRET in value for value in got.headers.values())


@pytest.mark.parametrize(
    "part", [b"data: {}\n\n" * 1000, b"data: " + b"x" * 65_536, b"\n" * 65_536, b": comment\n\n" * 1000]
)
def test_events_without_end_are_cut_off(gateway: LoneGateway, peer: Peer, part: bytes) -> None:
    got = draw(gateway, peer, endless(_EVENTS, part), stream=True)
    assert len(got.content) < 2 * MOST
    assert b"max_answer_bytes" in got.content


def test_a_stream_of_one_event_breaks_off_when_the_runtime_falls_silent(gateway: LoneGateway, peer: Peer) -> None:
    got = draw(gateway, peer, endless(_EVENTS + b"data: {}\n\n", b"", pause=30), stream=True)
    assert got.status_code == 200
    assert b"upstream_timeout" in got.content
