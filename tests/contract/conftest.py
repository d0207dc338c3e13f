"""Fixtures: the gateway, and models of it that are started when the first test asks for them."""

from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from contract.stack import ADAPTED, COMPATIBLE, PLAIN, Model, Stack
from gateway.peers import Peer, answer
from gateway.picture_hosts import PictureHost
from gateway.running import Gateway, served
from heliograph_gateway.app import create_app
from heliograph_gateway.routing import RoutingTable
from heliograph_gateway.settings import GatewaySettings
from pictures import draw
from runtime.picture_files import as_file
from runtime.runtimes import DRAWING_SECONDS


@pytest.fixture(scope="session")
def picture_host() -> Iterator[Peer]:
    """A host that the gateway may fetch pictures from: every path is a red circle."""
    with PictureHost(answer(200, as_file(draw("red", "circle", "white")))) as host:
        yield host


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, picture_host: Peer) -> Iterator[Stack]:
    """A gateway without models."""
    folder = tmp_path_factory.mktemp("contract")
    routes = RoutingTable(default_model="plain")
    hosts = (f"127.0.0.1:{picture_host.endpoint.port}",)
    settings = GatewaySettings(data_dir=folder / "gateway", image_url_private_hosts=hosts)
    with ExitStack() as running:
        url = running.enter_context(served(create_app(routes, settings)))
        client = running.enter_context(httpx.Client(base_url=url, timeout=DRAWING_SECONDS, trust_env=False))
        yield Stack(Gateway(url, routes, client, running.close), folder, running)


@pytest.fixture(scope="session")
def plain(stack: Stack) -> Model:
    """The tiny model with values of its own, the default model."""
    return stack.start("plain", PLAIN)


@pytest.fixture(scope="session")
def adapted(stack: Stack) -> Model:
    """The tiny model with a LoRA, of no weight unless a request gives it one, and a ControlNet."""
    return stack.start("adapted", ADAPTED)


@pytest.fixture(scope="session")
def compatible(stack: Stack) -> Model:
    """The tiny model with the defaults of sd-api-server."""
    return stack.start("compatible", COMPATIBLE)
