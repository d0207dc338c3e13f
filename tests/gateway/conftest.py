"""Fixtures: a gateway served over HTTP, in front of given endpoints."""

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
from heliograph_api.naming import child_name
from heliograph_gateway.app import create_app
from heliograph_gateway.health import Health
from heliograph_gateway.holding import Waker
from heliograph_gateway.routing import Endpoint, RoutingTable
from heliograph_gateway.settings import GatewaySettings


@pytest.fixture
def start_gateway(tmp_path: Path) -> Iterator[StartGateway]:
    """Serve a gateway with the model `tiny` in front of the given endpoints."""
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
            app = create_app(routes, GatewaySettings(**given), health=health, waker=waker)
            if prepare:
                prepare(app)
            running = started.enter_context(ExitStack())
            url = running.enter_context(served(app))
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
