"""Fixtures: a gateway served over HTTP, in front of given endpoints."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
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
def start_gateway() -> Iterator[StartGateway]:
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
            app = create_app(routes, GatewaySettings(**settings), health=health)
            if prepare:
                prepare(app)
            url = started.enter_context(served(app))
            client = started.enter_context(httpx.Client(base_url=url, timeout=30, trust_env=False))
            return Gateway(url, routes, client)

        yield start
