"""What hosts answer to the fetching of an image, and how long they take."""

import asyncio
import contextlib
import gzip
import itertools
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from cluster.certificates import Authority
from gateway.peers import Behaviour, answer, hold, refusing_endpoint, reset, say
from gateway.picture_hosts import PNG, Names, PictureHost, allowed, fetch, picture, redirect, refusal, taken
from gateway.running import StartGateway
from heliograph_api.errors import APIError
from heliograph_gateway.body import Bodies, Body
from heliograph_gateway.fetching.fetcher import Fetcher
from heliograph_gateway.settings import GatewaySettings

LOOPBACK: list[Sequence[str]] = [["127.0.0.1"]]


@pytest.mark.parametrize("status", [204, 206, 300, 304, 400, 401, 404, 418, 500, 503])
def test_other_answers_than_success(host: Callable[..., PictureHost], status: int) -> None:
    served = host(answer(status, b"" if status in {204, 304} else b"canary-body"))
    error = refusal(served.url(), **allowed(served))
    assert (error.code, str(status) in error.message) == ("image_url_failed", True)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\x89PNG", b"<html>canary</html>" * 100, b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7 canary",
        b"\x00" * 100, b"BM" + bytes(100), b"II*\x00" + bytes(100), b"RIFF\x00\x00\x00\x00WAVEfmt ", b" " + PNG,
        b"GIF88a" + bytes(100), b"PK\x03\x04" + bytes(100), b"\x00\x00\x00 ftypavif" + bytes(100),
    ],
)  # fmt: skip
def test_what_is_no_image_by_its_content(host: Callable[..., PictureHost], content: bytes) -> None:
    served = host(answer(200, content, content_type="image/png"))
    error = refusal(served.url(), **allowed(served))
    assert error.code == "image_url_not_an_image"
    assert "PNG, JPEG, WebP or GIF" in error.message


def test_what_is_no_image_is_not_read_to_its_end(host: Callable[..., PictureHost]) -> None:
    stopped = threading.Event()

    def endless(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(b"<html>" * 1000)
        stopped.set()

    served = host(endless)
    assert refusal(served.url(), **allowed(served)).code == "image_url_not_an_image"
    assert stopped.wait(30)


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd", "gzip, identity", "x-canary"])
def test_compressed_answers(host: Callable[..., PictureHost], encoding: str) -> None:
    bomb = gzip.compress(PNG + bytes(50_000_000))
    served = host(answer(200, bomb, f"content-encoding: {encoding}"))
    error = refusal(served.url(), **allowed(served))
    assert (error.code, "compressed" in error.message) == ("image_url_failed", True)


def test_sizes(host: Callable[..., PictureHost]) -> None:
    def unmeasured(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + PNG)
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(bytes(65_536))

    def chunked(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        with contextlib.suppress(OSError):
            for part in itertools.chain([PNG], itertools.repeat(bytes(65_536))):
                connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))

    exact = host(answer(200, PNG))
    assert fetch(("image", exact.url()), **allowed(exact), image_url_max_bytes=len(PNG)) == [PNG]
    for behaviour in (
        answer(200, PNG + b"x"),
        say(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n"),
        unmeasured,
        chunked,
    ):
        served = host(behaviour)
        error = refusal(served.url(), **allowed(served), image_url_max_bytes=len(PNG))
        assert error.code == "image_url_too_large"
        assert f"may have {len(PNG)} bytes" in error.message


def test_the_images_of_a_request_have_one_limit_together(host: Callable[..., PictureHost]) -> None:
    served = host()
    wanted = [("image", served.url())] * 3
    # In base64, three bytes take four.
    assert fetch(*wanted, **allowed(served), max_body_bytes=len(PNG) * 4) == [PNG] * 3
    with pytest.raises(APIError) as caught:
        fetch(*wanted, **allowed(served), max_body_bytes=len(PNG) * 4 - 4)
    assert caught.value.code == "image_url_too_large"
    assert "beside the others" in caught.value.message


def drip(beginning: bytes, part: bytes = b"x") -> Behaviour:
    def behave(connection: socket.socket) -> None:
        connection.sendall(beginning)
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(part)
                time.sleep(0.05)

    return behave


SLOW = {
    "status line": drip(b"HTTP/1.1 200 "),
    "headers": drip(b"HTTP/1.1 200 OK\r\nx-a: "),
    "body": drip(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + PNG),
    "body without a length": drip(b"HTTP/1.1 200 OK\r\n\r\n" + PNG),
    "interim answers": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "nothing": hold(threading.Event()),
}


@pytest.mark.parametrize("kind", SLOW)
def test_slow_hosts(host: Callable[..., PictureHost], kind: str) -> None:
    served = host(SLOW[kind])
    error = refusal(served.url(), **allowed(served), image_url_timeout=0.5)
    assert (error.code, "within 0.5 seconds" in error.message) == ("image_url_timeout", True)


def test_the_time_is_for_all_redirects_together(host: Callable[..., PictureHost]) -> None:
    def slow_redirect(connection: socket.socket) -> None:
        time.sleep(0.4)
        redirect("/next")(connection)

    served = host(slow_redirect)
    assert refusal(served.url(), **allowed(served), image_url_timeout=1.0).code == "image_url_timeout"


def test_a_name_that_takes_forever() -> None:
    async def stuck(_host: str, _port: int) -> Sequence[str]:
        await asyncio.get_running_loop().create_future()
        return []

    error = refusal("http://pictures.test/", names=stuck, image_url_hosts="*", image_url_timeout=0.2)
    assert error.code == "image_url_timeout"


BROKEN = {
    "reset": reset(),
    "reset in the body": reset(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n" + PNG),
    "end": say(b""),
    "words": say(b"canary\r\n\r\n"),
    "ssh": say(b"SSH-2.0-canary\r\n"),
    "end in the body": say(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n" + PNG),
    "length in words": say(b"HTTP/1.1 200 OK\r\ncontent-length: canary\r\n\r\n"),
    "two lengths": say(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"),
    "long header": say(b"HTTP/1.1 200 OK\r\nx-a: " + b"canary" * 100_000 + b"\r\n\r\n"),
    "chunk without a length": say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\ncanary\r\n"),
    "long chunk": say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffffffffff\r\n"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_hosts_that_break_off_or_speak_otherwise(host: Callable[..., PictureHost], kind: str) -> None:
    served = host(BROKEN[kind])
    assert refusal(served.url(), **allowed(served)).code == "image_url_unreachable"


def test_hosts_that_are_not_there() -> None:
    with refusing_endpoint() as endpoint:
        error = refusal(f"{endpoint.url}/a.png", image_url_private_hosts=f"127.0.0.1:{endpoint.port}")
        assert error.code == "image_url_unreachable"
    names = Names({})
    assert refusal("http://pictures.test/", names=names, image_url_hosts="*").code == "image_url_unreachable"


def test_one_failure_ends_the_others(host: Callable[..., PictureHost]) -> None:
    left = threading.Event()
    stuck, bad = host(hold(left)), host(answer(404, b""))
    with pytest.raises(APIError) as caught:
        fetch(("image", stuck.url()), ("mask", bad.url()), **allowed(stuck, bad))
    assert caught.value.param == "mask"
    assert left.wait(30)


def test_abandoned_requests_take_no_place(host: Callable[..., PictureHost]) -> None:
    slow, quick = host(drip(b"HTTP/1.1 200 OK\r\n\r\n" + PNG)), host()

    async def session() -> list[bytes]:
        settings = GatewaySettings(**allowed(slow, quick))
        fetcher, bodies = Fetcher(settings), Bodies(settings)
        for milliseconds in range(40):
            calls = [asyncio.create_task(fetcher.fetch([("image", slow.url())], into=bodies)) for _ in range(3)]
            await asyncio.sleep(milliseconds / 1000)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        found = await fetcher.fetch([("image", quick.url())] * 20, into=bodies)
        await fetcher.aclose()
        return [taken(picture) for picture in found]

    assert asyncio.run(session()) == [PNG] * 20


def test_one_request_has_few_connections_at_a_time(host: Callable[..., PictureHost]) -> None:
    open_now, most = 0, 0
    lock = threading.Lock()

    def count(connection: socket.socket) -> None:
        nonlocal open_now, most
        with lock:
            open_now += 1
            most = max(most, open_now)
        time.sleep(0.05)
        with lock:
            open_now -= 1
        picture(connection)

    served = host(count)
    assert fetch(*[("image", served.url())] * 12, **allowed(served)) == [PNG] * 12
    assert 1 < most <= 4


def test_what_is_waited_for_a_connection_counts(host: Callable[..., PictureHost]) -> None:
    """Sixteen images that never come keep all connections; those behind them are not waited for in turn."""
    left = threading.Event()
    stuck = host(hold(left))

    async def session() -> None:
        settings = GatewaySettings(**allowed(stuck), image_url_timeout=1.0)
        fetcher, bodies = Fetcher(settings), Bodies(settings)
        ahead = [
            asyncio.create_task(fetcher.fetch([("image", stuck.url())] * 4, into=bodies, owner=owner))
            for owner in ("first", "second", "first", "second")
        ]
        await asyncio.sleep(0.2)
        behind = [asyncio.create_task(fetcher.fetch([("image", stuck.url())], into=bodies)) for _ in range(48)]
        results = await asyncio.gather(*ahead, *behind, return_exceptions=True)
        assert {getattr(result, "code", result) for result in results} == {"image_url_timeout"}
        # Some may get a connection in the last moment.
        assert len(stuck.requests) < 48
        await fetcher.aclose()

    asyncio.run(session())


def test_requests_that_wait_for_images_are_bounded(host: Callable[..., PictureHost]) -> None:
    stuck, quick = host(hold(threading.Event())), host()

    async def session() -> None:
        settings = GatewaySettings(**allowed(stuck, quick))
        fetcher, bodies = Fetcher(settings), Bodies(settings)

        async def begun(count: int, owner: str) -> list[asyncio.Task[list[Body]]]:
            stuck_image = [("image", stuck.url())]
            tasks = [asyncio.create_task(fetcher.fetch(stuck_image, into=bodies, owner=owner)) for _ in range(count)]
            await asyncio.sleep(0)
            return tasks

        tasks = await begun(16, "greedy")
        with pytest.raises(APIError, match="Too many requests wait for images by URL") as caught:
            await fetcher.fetch([("image", quick.url())], into=bodies, owner="greedy")
        assert (caught.value.status, caught.value.headers["Retry-After"]) == (429, "5")
        # Its connections are half of all, so that another key gets its images meanwhile.
        (found,) = await fetcher.fetch([("image", quick.url())], into=bodies, owner="modest")
        assert taken(found) == PNG
        tasks += await begun(48, "")
        with pytest.raises(APIError, match="Too many requests wait for images by URL"):
            await fetcher.fetch([("image", quick.url())], into=bodies, owner="modest")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        (found,) = await fetcher.fetch([("image", quick.url())], into=bodies, owner="greedy")
        assert taken(found) == PNG
        await fetcher.aclose()

    asyncio.run(session())


def test_names_that_one_key_has_looked_up_for_long_hold_up_no_other(
    host: Callable[..., PictureHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look-up goes on when its picture was given up; its thread is its key's until then, and free again after."""
    quick, answered, asked = host(), threading.Event(), list[str]()

    def look_up(name: str, *arguments: Any, **options: Any) -> Any:
        asked.append(name)
        if name == "slow.test":
            answered.wait(60)
        return getaddrinfo("127.0.0.1", *arguments, **options)

    getaddrinfo = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    hosts = (f"slow.test:{quick.port}", f"quick.test:{quick.port}")

    async def session() -> None:
        settings = GatewaySettings(image_url_timeout=1, image_url_private_hosts=hosts)
        fetcher, bodies = Fetcher(settings), Bodies(settings)
        given_up = [fetcher.fetch([("image", quick.url("slow.test"))], into=bodies, owner="greedy") for _ in range(8)]
        for error in await asyncio.gather(*given_up, return_exceptions=True):
            assert isinstance(error, APIError)
            assert error.code == "image_url_timeout"
        assert asked == ["slow.test"] * 4
        (found,) = await fetcher.fetch([("image", quick.url("quick.test"))], into=bodies, owner="modest")
        assert taken(found) == PNG
        with pytest.raises(APIError, match="could not be fetched within 1 seconds"):
            await fetcher.fetch([("image", quick.url("quick.test"))], into=bodies, owner="greedy")
        answered.set()
        (found,) = await fetcher.fetch([("image", quick.url("quick.test"))], into=bodies, owner="greedy")
        assert taken(found) == PNG
        await fetcher.aclose()

    try:
        asyncio.run(session())
    finally:
        answered.set()


def test_nothing_is_fetched_for_a_client_that_has_left(
    host: Callable[..., PictureHost], start_gateway: StartGateway
) -> None:
    left = threading.Event()
    stuck = host(hold(left))
    gateway = start_gateway(**allowed(stuck), image_url_timeout=300)
    body = {"model": "tiny", "prompt": "a circle", "image": stuck.url()}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{gateway.url}/v1/images/edits", json=body, timeout=1, trust_env=False)
    assert left.wait(30)
    gateway.expect_metric(1, "heliograph_gateway_requests_total", status="499")


def test_https(host: Callable[..., PictureHost], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("known", "unknown")]
    for folder in folders:
        folder.mkdir()
    known, unknown = map(Authority, folders)
    monkeypatch.setenv("SSL_CERT_FILE", str(known.certificate))
    names = Names({"pictures.test": LOOPBACK, "other.test": LOOPBACK})

    good = host(certificate=known.issue_server("good", hosts=["pictures.test"]))
    assert fetch(("image", good.url("pictures.test")), names=names, **allowed(good, name="pictures.test")) == [PNG]
    assert good.requests[0].headers["host"] == f"pictures.test:{good.port}"
    error = refusal(good.url("other.test"), names=names, **allowed(good, name="other.test"))
    assert (error.code, "certificate is not trusted" in error.message) == ("image_url_unreachable", True)

    foreign = host(certificate=unknown.issue_server("foreign", hosts=["pictures.test"]))
    error = refusal(foreign.url("pictures.test"), names=names, **allowed(foreign, name="pictures.test"))
    assert (error.code, "certificate is not trusted" in error.message) == ("image_url_unreachable", True)

    plain = host()
    forwarding = host(
        redirect(plain.url("pictures.test")), certificate=known.issue_server("two", hosts=["pictures.test"])
    )
    settings = allowed(forwarding, plain, name="pictures.test")
    assert fetch(("image", forwarding.url("pictures.test")), names=names, **settings) == [PNG]
