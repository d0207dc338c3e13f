"""Signed links: which base they have, and which are taken."""

import stat
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.requests import Request

from gateway.states import Clock
from heliograph_api.errors import APIError
from heliograph_gateway.database import StateError
from heliograph_gateway.files.links import Links
from heliograph_gateway.files.store import StoredFile
from heliograph_gateway.settings import GatewaySettings

NOW = 1_800_000_000
STORED = StoredFile(
    id=f"file_{'5' * 32}", owner="", media_type="image/png", size=7, created_at=NOW, expires_at=NOW + 3600
)
PATH = f"/v1/files/download/{STORED.id}/{STORED.id}.png"


def request(*, scheme: str = "http", server: Any = ("10.0.0.9", 8080), **headers: str) -> Request:
    encoded = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Request({"type": "http", "scheme": scheme, "server": server, "headers": encoded, "path": "/v1/x"})


def opened(folder: Path, *, clock: Clock | None = None, **settings: Any) -> Links:
    links = Links(GatewaySettings(**settings), now=clock or Clock(NOW))
    links.open(folder / "signing.key")
    return links


def base(folder: Path, asked: Request, **settings: Any) -> str:
    url = opened(folder, **settings).url(asked, STORED)
    prefix, found, _ = url.partition(PATH)
    assert found
    return prefix


def query(url: str) -> tuple[str, str]:
    parameters = parse_qs(urlsplit(url).query)
    return parameters["expires"][0], parameters["signature"][0]


def refusal(links: Links, path: str, expires: str, signature: str) -> tuple[int, str | None]:
    with pytest.raises(APIError) as caught:
        links.check(path, expires, signature)
    return caught.value.status, caught.value.code


def test_a_link_is_good_until_its_file_expires(tmp_path: Path) -> None:
    clock = Clock(NOW)
    links = opened(tmp_path, clock=clock)
    url = links.url(request(host="gateway:8080"), STORED)
    assert urlsplit(url).path == PATH
    expires, signature = query(url)
    assert int(expires) == STORED.expires_at
    clock.time = STORED.expires_at - 1
    links.check(PATH, expires, signature)
    clock.time = STORED.expires_at
    assert refusal(links, PATH, expires, signature) == (403, "link_expired")


def test_whatever_is_changed_breaks_the_link(tmp_path: Path) -> None:
    links = opened(tmp_path)
    expires, signature = query(links.url(request(host="gateway"), STORED))
    other = f"/v1/files/download/{STORED.id}/{STORED.id}.webp"
    for changed in (
        (other, expires, signature),
        (PATH.replace("5", "6"), expires, signature),
        (PATH, str(int(expires) + 1), signature),
        (PATH, f"0{expires}", signature),
        (PATH, f" {expires}", signature),
        (PATH, f"{expires}\n", signature),
        (PATH, "", signature),
        (PATH, expires, ""),
        (PATH, expires, signature.upper()),
        (PATH, expires, signature[:-1]),
        (PATH, expires, signature + "é"),
        (PATH, "\uff19" * 10, "0" * 64),
    ):
        assert refusal(links, *changed) == (403, "invalid_signature")
    links.check(PATH, expires, signature)


def test_every_installation_signs_with_a_key_of_its_own(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    one, two = map(opened, folders)
    expires, signature = query(one.url(request(host="gateway"), STORED))
    assert refusal(two, PATH, expires, signature) == (403, "invalid_signature")


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    expires, signature = query(opened(tmp_path).url(request(host="gateway"), STORED))
    opened(tmp_path).check(PATH, expires, signature)
    (path,) = tmp_path.iterdir()
    assert path.name == "signing.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_bytes()) == 32


def test_a_configured_key_is_taken_instead(tmp_path: Path) -> None:
    links = [opened(tmp_path, signing_key="0123456789abcdef") for _ in range(2)]
    links[1].check(PATH, *query(links[0].url(request(host="gateway"), STORED)))
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_a_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "signing.key").touch()
    with pytest.raises(StateError, match=r"signing\.key holds no key; delete it"):
        opened(tmp_path)


def test_nothing_is_signed_without_a_key() -> None:
    with pytest.raises(RuntimeError, match="not opened"):
        Links(GatewaySettings()).url(request(host="gateway"), STORED)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"host": "gateway.example"}, "http://gateway.example"),
        ({"host": "127.0.0.1:8080"}, "http://127.0.0.1:8080"),
        ({"host": "[::1]:8080"}, "http://[::1]:8080"),
        ({"host": "my_gateway:8080"}, "http://my_gateway:8080"),
        ({"host": "in", "x_forwarded_proto": "https"}, "https://in"),
        ({"host": "in", "x_forwarded_host": "out.example:8443"}, "http://out.example:8443"),
        ({"host": "in", "x_forwarded_proto": "https, http", "x_forwarded_host": "out , in"}, "https://out"),
        ({"host": "in", "x_forwarded_prefix": "/images/"}, "http://in/images"),
        ({"host": "in", "x_forwarded_prefix": "/a/b"}, "http://in/a/b"),
        ({"host": "in", "x_forwarded_prefix": "/"}, "http://in"),
    ],
)
def test_the_base_is_the_clients_way_to_the_gateway(tmp_path: Path, headers: dict[str, str], expected: str) -> None:
    assert base(tmp_path, request(**headers)) == expected


@pytest.mark.parametrize(
    "odd",
    [
        "", "a b", "a/b", "a?x=", "a#", "a@b", "a\\b", "a:b", "a:1:2", "a:123456", "<script>", '"', "[::1", "[a]b",
        "a\r\nb", "é", "a%2fb", "javascript:alert(1)", "a" * 300,
    ],
)  # fmt: skip
def test_no_header_injects_anything(tmp_path: Path, odd: str) -> None:
    assert base(tmp_path, request(host=odd)) == "http://10.0.0.9:8080"
    assert base(tmp_path, request(host="in", x_forwarded_host=odd)) == "http://in"
    assert base(tmp_path, request(host="in", x_forwarded_proto=odd)) == "http://in"
    assert base(tmp_path, request(host="in", x_forwarded_prefix=odd)) == "http://in"
    assert base(tmp_path, request(host="in", x_forwarded_prefix=f"//{odd}")) == "http://in"


def test_without_a_host_the_listening_address_serves(tmp_path: Path) -> None:
    assert base(tmp_path, request(scheme="https")) == "https://10.0.0.9:8080"
    assert base(tmp_path, request(server=("fd00::1", 80))) == "http://[fd00::1]:80"
    assert base(tmp_path, request(server=("/run/gateway.sock", None))).startswith("http://")


def test_forwarded_headers_can_be_distrusted(tmp_path: Path) -> None:
    asked = request(host="in", x_forwarded_host="out", x_forwarded_proto="https", x_forwarded_prefix="/a")
    assert base(tmp_path, asked, trust_forwarded_headers=False) == "http://in"


def test_a_configured_url_wins(tmp_path: Path) -> None:
    asked = request(host="in", x_forwarded_host="out", x_forwarded_proto="http")
    assert base(tmp_path, asked, external_url="https://images.example/api/") == "https://images.example/api"
