"""Fixtures: a gateway served over HTTP, in front of given endpoints."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from gateway.manifests import image_model
from gateway.running import Gateway, StartGateway, served
from heliograph_api.naming import child_name
from heliograph_gateway.app import create_app
from heliograph_gateway.health import Health
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
            **settings: Any,
        ) -> Gateway:
            routes = RoutingTable()
            routes.set_model(image_model("tiny", **(tiny or {})), created=1_700_000_000)
            routes.set_endpoints("default", child_name("tiny"), endpoints)
            # An answer that gets links is changed on the way; most tests are about one that passes as it is.
            given = {"data_dir": tmp_path / "data", "response_format": "b64_json", **settings}
            app = create_app(routes, GatewaySettings(**given), health=health)
            if prepare:
                prepare(app)
            running = started.enter_context(ExitStack())
            url = running.enter_context(served(app))
            client = running.enter_context(httpx.Client(base_url=url, timeout=30, trust_env=False))
            return Gateway(url, routes, client, running.close)

        yield start
