"""Fetching images by URL from real hosts, most of them hostile."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from gateway.peers import answer
from gateway.picture_hosts import GIF, JPEG, PNG, WEBP, Names, PictureHost, allowed, fetch, redirect, refusal

LOOPBACK: list[Sequence[str]] = [["127.0.0.1"]]
METADATA = "169.254.169.254"


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
