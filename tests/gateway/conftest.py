"""Fixtures: a gateway served over HTTP, in front of given endpoints."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from fastapi import FastAPI

from gateway.manifests import image_model
from gateway.peers import Behaviour
from gateway.picture_hosts import PictureHost, picture
from gateway.running import ConnectClient, Gateway, StartGateway, served
from gateway.storages import BucketPlace, FolderPlace, Place
from heliograph_api.naming import child_name
from heliograph_gateway.app import create_app
from heliograph_gateway.health import Health
from heliograph_gateway.holding import Waker
from heliograph_gateway.routing import Endpoint, RoutingTable
from heliograph_gateway.settings import GatewaySettings
from postgres import Postgres, postgres_server
from runtime.object_store import ObjectStore, object_store


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A PostgreSQL server, one for the whole test run."""
    with postgres_server(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def bucket_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """A server of S3's protocol, one for the whole test run."""
    with object_store(tmp_path_factory.mktemp("s3")) as store:
        yield store


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def database_place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where a new database is, of each kind."""
    if request.param == "SQLite":
        return tmp_path / "gateway.sqlite3"
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
def bucket_url(bucket_server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a new bucket, whose keys the environment holds."""
    for name, value in bucket_server.environment().items():
        monkeypatch.setenv(name, value)
    bucket = f"files-{uuid.uuid4().hex}"
    bucket_server.put(bucket, {})
    return f"s3://{bucket}/kept"


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where files are kept, of each kind."""
    if request.param == "folder":
        return FolderPlace(tmp_path / "files")
    return BucketPlace(request.getfixturevalue("bucket_url"))


@pytest.fixture
def start_gateway(tmp_path: Path) -> Iterator[StartGateway]:
    """Serve a gateway with the model `tiny` in front of the given endpoints; with none, it is soon refused."""
    with ExitStack() as started:

        def start(
            *,
            endpoints: Sequence[Endpoint] = (),
            tiny: dict[str, Any] | None = None,
            health: Health | None = None,
            prepare: Callable[[FastAPI], None] | None = None,
            waker: Waker | None = None,
            **settings: Any,
        ) -> Gateway:
            routes = RoutingTable()
            routes.set_model(image_model("tiny", **(tiny or {})), created=1_700_000_000)
            routes.set_endpoints("default", child_name("tiny"), endpoints)
            # An answer that gets links is changed on the way; most tests are about one that passes as it is.
            given = {"data_dir": tmp_path / "data", "response_format": "b64_json", **settings}
            if not endpoints and not waker:
                given.setdefault("hold_seconds", 0.1)
            chosen = GatewaySettings(**given)
            app = create_app(routes, chosen, health=health, waker=waker)
            if prepare:
                prepare(app)
            running = started.enter_context(ExitStack())
            url = running.enter_context(served(app, chosen))
            client = running.enter_context(httpx.Client(base_url=url, timeout=30, trust_env=False))
            return Gateway(url, routes, client, running.close)

        yield start


@pytest.fixture
def connect() -> Iterator[ConnectClient]:
    """Return OpenAI's client for a gateway's URL and a key."""
    with ExitStack() as clients:

        def open_client(url: str, key: str = "none") -> openai.OpenAI:
            return clients.enter_context(openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0))

        yield open_client


@pytest.fixture
def host() -> Iterator[Callable[..., PictureHost]]:
    """Start hosts on this machine."""
    with ExitStack() as started:

        def start(behaviour: Behaviour = picture, **options: Any) -> PictureHost:
            running = PictureHost(behaviour, **options)
            started.enter_context(running)
            return running

        yield start
