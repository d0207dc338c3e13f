"""Downloads over HTTP: what a link answers, and what it does not."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import Request

from cluster.waiting import eventually
from gateway.running import served
from gateway.storages import Place
from heliograph_gateway.app import create_app
from heliograph_gateway.auth import owner_of
from heliograph_gateway.routing import RoutingTable
from heliograph_gateway.settings import GatewaySettings
from heliograph_gateway.state import State

CONTENT = bytes(range(256)) * 1000


@dataclass
class Downloads:
    """A gateway whose file store can be filled over HTTP.

    Attributes:
        client: A client that has the key, if there is one.
        anyone: A client that has none.
        place: Where"""

    client: httpx.Client
    anyone: httpx.Client
    place: Place

    def store(self, content: bytes = CONTENT, **parameters: Any) -> str:
        """Store a file and return the link to it."""
        answer = self.client.post("/store", content=content, params={"media_type": "video/mp4", **parameters})
        link: str = answer.raise_for_status().json()["url"]
        return link


@pytest.fixture
def start(tmp_path: Path, place: Place) -> Iterator[Callable[..., Downloads]]:
    with ExitStack() as started:

        def serve(**options: Any) -> Downloads:
            settings = GatewaySettings(data_dir=tmp_path / "data", files_url=place.url, **options)
            state = State(settings)
            app = create_app(RoutingTable(), settings, state=state)

            @app.post("/store")
            async def store(request: Request, media_type: str, ttl: int | None = None) -> dict[str, str]:
                content, owner = await request.body(), owner_of(request.scope)
                stored = await state.files.put(content, media_type=media_type, ttl=ttl, owner=owner)
                return {"url": state.links.url(request, stored), "owner": stored.owner}

            url = started.enter_context(served(app))
            key = {"authorization": f"Bearer {options['api_key']}"} if "api_key" in options else {}
            client, anyone = (
                started.enter_context(httpx.Client(base_url=url, timeout=30, trust_env=False, headers=headers))
                for headers in (key, {})
            )
            return Downloads(client, anyone, place)

        yield serve


def code(response: httpx.Response) -> tuple[int, str]:
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return response.status_code, error["code"]


def test_a_link_needs_no_key_and_nothing_else_is_opened(start: Callable[..., Downloads]) -> None:
    gateway = start(api_key="secret")
    link = gateway.store()
    assert gateway.anyone.get(link).content == CONTENT
    for path in (
        "/v1/models",
        "/v1/files/download/../../models",
        "/v1/files/download//v1/models",
        "/v1/files/download/a/../../../models",
        "/v1/files/download/a",
        "/v1/files/download/a/b/c",
        "/v1/files/download%2fa%2fb/c",
        "/v1/files",
        "/x/v1/files/download/a/b",
    ):
        response = gateway.anyone.send(gateway.anyone.build_request("GET", str(gateway.anyone.base_url) + path))
        assert response.status_code in {401, 403}, path
    assert code(gateway.anyone.get("/v1/files/download/a/b")) == (403, "invalid_signature")
    assert gateway.anyone.post(link).status_code == 405


def test_the_owner_is_told_from_the_key(start: Callable[..., Downloads]) -> None:
    answer = start(api_key="secret").client.post("/store", content=b"x", params={"media_type": "image/png"}).json()
    assert answer["owner"] == "default"


def test_without_a_key_everybody_is_one_owner(start: Callable[..., Downloads]) -> None:
    gateway = start()
    headers = {"authorization": "Bearer whatever"}
    parameters = {"media_type": "image/png"}
    assert gateway.client.post("/store", content=b"x", params=parameters, headers=headers).json()["owner"] == ""


@pytest.mark.parametrize("media_type", ["image/png", "image/jpeg", "image/webp", "video/mp4"])
def test_what_a_download_says(start: Callable[..., Downloads], media_type: str) -> None:
    gateway = start()
    link = gateway.store(media_type=media_type)
    response = gateway.anyone.get(link)
    assert response.status_code == 200
    assert response.content == CONTENT
    name = httpx.URL(link).path.rpartition("/")[2]
    expected = {
        "accept-ranges": "bytes",
        "access-control-allow-origin": "*",
        "content-disposition": f'inline; filename="{name}"',
        "content-length": str(len(CONTENT)),
        "content-type": media_type,
        "etag": f'"{name.partition(".")[0]}"',
        "x-content-type-options": "nosniff",
    }
    assert {header: response.headers[header] for header in expected} == expected
    private, immutable, age = response.headers["cache-control"].split(", ")
    assert (private, immutable) == ("private", "immutable")
    assert 3500 < int(age.removeprefix("max-age=")) <= 3600
    head = gateway.anyone.head(link)
    assert head.content == b""
    assert {header: head.headers[header] for header in expected} == expected


@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=1000-", 1000, len(CONTENT)),
        ("bytes=-5", len(CONTENT) - 5, len(CONTENT)),
        ("bytes=255990-999999", 255_990, len(CONTENT)),
        ("bytes=0-0", 0, 1),
        ("bytes=-999999", 0, len(CONTENT)),
    ],
)
def test_ranges(start: Callable[..., Downloads], asked: str, first: int, end: int) -> None:
    gateway = start()
    response = gateway.anyone.get(gateway.store(), headers={"range": asked})
    assert response.status_code == 206
    assert response.headers["content-range"] == f"bytes {first}-{end - 1}/{len(CONTENT)}"
    assert response.headers["content-type"] == "video/mp4"
    assert response.content == CONTENT[first:end]


@pytest.mark.parametrize("asked", ["bytes=256000-", "bytes=999999-9999999", "bytes=-0"])
def test_ranges_outside_the_file(start: Callable[..., Downloads], asked: str) -> None:
    gateway = start()
    response = gateway.anyone.get(gateway.store(), headers={"range": asked})
    assert code(response) == (416, "range_not_satisfiable")
    assert response.headers["content-range"] == f"bytes */{len(CONTENT)}"


@pytest.mark.parametrize(
    "asked", ["bytes=5-2", "bytes=", "bytes=-", "bytes=a-b", "items=0-1", "0-1", "bytes=0-1,5-9", f"bytes=0-{'9' * 16}"]
)
def test_what_is_no_single_range_is_answered_with_the_whole(start: Callable[..., Downloads], asked: str) -> None:
    gateway = start()
    response = gateway.anyone.get(gateway.store(), headers={"range": asked})
    assert (response.status_code, response.content) == (200, CONTENT)


def test_conditions(start: Callable[..., Downloads]) -> None:
    gateway = start()
    link = gateway.store()
    etag = gateway.anyone.get(link).headers["etag"]
    for known in (etag, f'"other", W/{etag}', "*"):
        response = gateway.anyone.get(link, headers={"if-none-match": known})
        assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", etag)
    assert gateway.anyone.get(link, headers={"if-none-match": '"other"'}).status_code == 200
    for condition, status in ((etag, 206), ('"other"', 200)):
        assert gateway.anyone.get(link, headers={"range": "bytes=0-1", "if-range": condition}).status_code == status


def test_links_that_are_not_good(start: Callable[..., Downloads]) -> None:
    gateway = start()
    link = gateway.store()
    url = httpx.URL(link)
    assert code(gateway.anyone.get(url.copy_with(query=None))) == (403, "invalid_signature")
    assert code(gateway.anyone.get(url.copy_set_param("expires", "9999999999"))) == (403, "invalid_signature")
    assert code(gateway.anyone.get(gateway.store(ttl=-5))) == (403, "link_expired")
    other = url.copy_with(path=url.path.replace("file_", "file_0", 1))
    assert code(gateway.anyone.get(other)) == (403, "invalid_signature")


def test_a_file_that_went_before_its_time(start: Callable[..., Downloads]) -> None:
    gateway = start(max_stored_bytes=len(CONTENT))
    evicted = gateway.store()
    lost = gateway.store()
    assert code(gateway.anyone.get(evicted)) == (404, "file_not_found")
    gateway.place.clear()
    assert code(gateway.anyone.get(lost)) == (404, "file_not_found")


def test_links_outlive_the_process(start: Callable[..., Downloads]) -> None:
    link = start().store()
    again = start()
    assert again.anyone.get(httpx.URL(link).raw_path.decode()).content == CONTENT


def test_what_expired_is_collected_in_the_background(start: Callable[..., Downloads]) -> None:
    gateway = start()
    gateway.store(ttl=-5)
    assert len(gateway.place.names()) == 1
    start()
    eventually(lambda: not gateway.place.names(), what="collection")


def test_the_access_log_has_no_signature(start: Callable[..., Downloads], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "heliograph_gateway")
    gateway = start()
    link = gateway.store()
    gateway.anyone.get(link)

    def messages() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name.startswith("heliograph")]

    eventually(lambda: [text for text in messages() if "/v1/files/download/" in text], what="line of the download")
    assert httpx.URL(link).params["signature"] not in "".join(messages())
