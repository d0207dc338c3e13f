"""Fetching images by URL from real hosts, most of them hostile."""

import asyncio
import contextlib
import gzip
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from cluster.certificates import Authority
from gateway.peers import Behaviour, answer, hold, refusing_endpoint, reset, say
from gateway.picture_hosts import GIF, JPEG, PNG, WEBP, Names, PictureHost, fetch, picture, redirect, refusal
from heliograph_api.errors import APIError
from heliograph_gateway.fetching.fetcher import Fetcher
from heliograph_gateway.settings import GatewaySettings

LOOPBACK: list[Sequence[str]] = [["127.0.0.1"]]
METADATA = "169.254.169.254"


@pytest.fixture
def host() -> Iterator[Callable[..., PictureHost]]:
    """Start hosts on this machine."""
    with ExitStack() as started:

        def start(behaviour: Behaviour = picture, **options: Any) -> PictureHost:
            running = PictureHost(behaviour, **options)
            started.enter_context(running)
            return running

        yield start


def allowed(*hosts: PictureHost, name: str = "127.0.0.1") -> dict[str, Any]:
    """Return the settings that allow some hosts under a name, private as their address is."""
    return {"image_url_private_hosts": tuple(f"{name}:{one.port}" for one in hosts)}


def test_images_come_in_the_order_of_their_urls(host: Callable[..., PictureHost]) -> None:
    files = [PNG, JPEG, GIF, WEBP]
    hosts = [host(answer(200, file, content_type="text/html")) for file in files]
    wanted = [("image", one.url()) for one in hosts]
    assert fetch(*wanted, *wanted[:2], **allowed(*hosts)) == [*files, PNG, JPEG]
    assert fetch(**allowed(*hosts)) == []


def test_without_allowed_hosts_nothing_is_looked_up(host: Callable[..., PictureHost]) -> None:
    served, names = host(), Names({"pictures.test": LOOPBACK})
    for url in (served.url(), served.url("pictures.test"), "nonsense", "http://["):
        error = refusal(url, names=names)
        assert error.code == "image_url_not_allowed"
        assert "URLs are not fetched here unless the administrator allows their hosts" in error.message
        assert "image_url_hosts" in error.message
    assert (served.connections, names.asked) == (0, [])


def test_a_host_that_is_not_allowed_is_named(host: Callable[..., PictureHost]) -> None:
    served, names = host(), Names({"other.test": LOOPBACK})
    error = refusal(served.url("other.test"), names=names, image_url_hosts="pictures.test,*.example.org")
    assert error.code == "image_url_not_allowed"
    assert f"other.test at port {served.port}, which the administrator has not allowed" in error.message
    assert (served.connections, names.asked) == (0, [])


def test_what_is_no_url_is_invalid() -> None:
    error = refusal("http://user:canary@127.0.0.1/", image_url_hosts="*")
    assert error.code == "image_url_invalid"


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]"])
def test_this_machine_is_no_public_host(host: Callable[..., PictureHost], name: str) -> None:
    served = host(host="")
    error = refusal(served.url(name), image_url_hosts=f"*:{served.port}")
    assert error.code == "image_url_refused_address"
    assert served.connections == 0


@pytest.mark.parametrize(
    "addresses",
    [
        ["10.0.0.1"], [METADATA], ["93.184.216.34", "127.0.0.1"], ["127.0.0.1", "93.184.216.34"], ["224.0.0.1"],
        ["2606:2800::1", "fe80::1"], ["100.64.1.1"], ["fd00:ec2::254"], ["64:ff9b::7f00:1"], ["2002:7f00:1::"],
        ["::ffff:127.0.0.1"], ["0.0.0.0"], ["192.168.0.1"],
    ],
)  # fmt: skip
def test_names_of_other_than_public_addresses(host: Callable[..., PictureHost], addresses: Sequence[str]) -> None:
    served = host(host="")
    names = Names({"pictures.test": [addresses]})
    error = refusal(served.url("pictures.test"), names=names, image_url_hosts=f"*:{served.port}")
    assert error.code == "image_url_refused_address"
    assert not any(address in error.message for address in addresses)
    assert served.connections == 0


@pytest.mark.parametrize(
    "address", [METADATA, "fd00:ec2::254", "0.0.0.0", "::", "100.100.100.200", "ff02::1", "192.0.0.192"]
)
def test_some_addresses_are_refused_for_private_hosts_too(host: Callable[..., PictureHost], address: str) -> None:
    served = host(host="")
    names = Names({"minio": [["127.0.0.1", address]]})
    error = refusal(served.url("minio"), names=names, **allowed(served, name="minio"))
    assert error.code == "image_url_refused_address"
    assert served.connections == 0


def test_a_private_host_is_private_at_its_own_port_alone(host: Callable[..., PictureHost]) -> None:
    one, other = host(), host()
    settings = {"image_url_private_hosts": f"minio:{one.port}", "image_url_hosts": f"*:{other.port}"}
    names = Names({"minio": LOOPBACK})
    assert fetch(("image", one.url("minio")), names=names, **settings) == [PNG]
    assert refusal(other.url("minio"), names=names, **settings).code == "image_url_refused_address"
    assert other.connections == 0


def test_the_address_that_was_checked_is_the_one_connected_to(host: Callable[..., PictureHost]) -> None:
    served = host()
    names = Names({"pictures.test": [["127.0.0.1"], [METADATA]]})
    settings = allowed(served, name="pictures.test")
    assert fetch(("image", served.url("pictures.test")), names=names, **settings) == [PNG]
    assert names.asked == ["pictures.test"]


def test_a_name_is_checked_again_at_each_redirect(host: Callable[..., PictureHost]) -> None:
    served = host(redirect("/b.png"))
    names = Names({"pictures.test": [["127.0.0.1"], ["127.0.0.1", METADATA]]})
    error = refusal(served.url("pictures.test"), names=names, **allowed(served, name="pictures.test"))
    assert error.code == "image_url_refused_address"
    assert (served.connections, names.asked) == (1, ["pictures.test", "pictures.test"])


def test_the_next_address_is_tried_when_one_does_not_answer(host: Callable[..., PictureHost]) -> None:
    served = host()
    names = Names({"pictures.test": [["127.0.0.3", "127.0.0.1"]]})
    assert fetch(("image", served.url("pictures.test")), names=names, **allowed(served, name="pictures.test")) == [PNG]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_to_allowed_hosts_are_followed(host: Callable[..., PictureHost], status: int) -> None:
    target = host()
    first = host()
    second = host(redirect(target.url(path="/c.png"), status))
    first.behaviour = redirect(second.url(), status)
    assert fetch(("image", first.url()), **allowed(first, second, target)) == [PNG]
    assert target.requests[0].line == "GET /c.png HTTP/1.1"
    assert "cookie" not in target.requests[0].headers
    assert "referer" not in target.requests[0].headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location",
    [
        "http://{sink}/canary", "//{sink}/canary", f"http://{METADATA}/canary", "http://2852039166/canary",
        "http://localhost:{port}/canary", "http://[::1]:{port}/canary", "http://127.1:{port}/canary", "file:///canary",
        "http://user:canary@{origin}/", "ftp://{origin}/canary", "http://{origin}:0/canary", "http://canary:99999/",
        "http://[canary", "data:image/png;base64,canary", "http://can\\ary@{sink}/",
    ],
)  # fmt: skip
def test_redirects_to_elsewhere_are_refused(host: Callable[..., PictureHost], status: int, location: str) -> None:
    sink, origin = host(host=""), host()
    place = {"sink": f"127.0.0.1:{sink.port}", "port": sink.port, "origin": f"127.0.0.1:{origin.port}"}
    origin.behaviour = redirect(location.format(**place), status)
    error = refusal(origin.url(), **allowed(origin))
    assert error.code in {"image_url_not_allowed", "image_url_invalid", "image_url_failed"}
    assert "redirects to a URL that nothing is fetched from" in error.message
    assert METADATA not in error.message
    assert (origin.connections, sink.connections) == (1, 0)


def test_a_public_host_redirects_to_no_private_address(host: Callable[..., PictureHost]) -> None:
    sink = host(host="")
    origin = host(redirect(f"http://inside.test:{sink.port}/canary"))
    names = Names({"inside.test": LOOPBACK, "pictures.test": LOOPBACK})
    settings = {**allowed(origin, name="pictures.test"), "image_url_hosts": f"*:{sink.port}"}
    error = refusal(origin.url("pictures.test"), names=names, **settings)
    assert error.code == "image_url_refused_address"
    assert "inside" not in error.message
    assert (origin.connections, sink.connections) == (1, 0)


def test_endless_redirects(host: Callable[..., PictureHost]) -> None:
    for location in ("/a.png", "?", "", "a" * 8000):
        served = host(redirect(location))
        assert refusal(served.url(), **allowed(served)).code == "image_url_failed"
        assert served.connections == 4
    without_location = host(answer(302, b""))
    assert refusal(without_location.url(), **allowed(without_location)).code == "image_url_failed"


def test_the_request_says_no_more_than_it_must(
    host: Callable[..., PictureHost], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    proxy = host()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://canary:canary@127.0.0.1:{proxy.port}")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login canary password canary")
    monkeypatch.setenv("NETRC", str(netrc))
    served = host()
    fetch(("image", served.url(path="/a%20b/\u00e4.png?x=1&y=%2F#part")), **allowed(served))
    (request,) = served.requests
    assert request.line == "GET /a%20b/%C3%A4.png?x=1&y=%2F HTTP/1.1"
    assert request.headers == {
        "host": f"127.0.0.1:{served.port}",
        "accept": "image/png, image/jpeg, image/webp, image/gif",
        "accept-encoding": "identity",
        "connection": "close",
        "user-agent": "heliograph-gateway",
    }
    assert proxy.connections == 0


def test_an_ipv6_literal(host: Callable[..., PictureHost]) -> None:
    served = host(host="::1")
    served_at = f"[::1]:{served.port}"
    assert fetch(("image", f"http://{served_at}/"), image_url_private_hosts=served_at) == [PNG]
    assert served.requests[0].headers["host"] == served_at


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
        fetcher = Fetcher(GatewaySettings(**allowed(slow, quick)))
        for milliseconds in range(40):
            calls = [asyncio.create_task(fetcher.fetch([("image", slow.url())])) for _ in range(3)]
            await asyncio.sleep(milliseconds / 1000)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        found = await fetcher.fetch([("image", quick.url())] * 20)
        await fetcher.aclose()
        return found

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
