"""Fixtures: for each engine a gateway, and models of it that are started when the first test asks for them."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import get_args

import httpx
import pytest

from contract.models import SPECS, EngineName, find_models
from contract.stack import Model, Stack
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


@pytest.fixture(scope="session", params=get_args(EngineName))
def engine(request: pytest.FixtureRequest) -> EngineName:
    """The engine that draws; whatever depends on it runs over each."""
    name: EngineName = request.param
    return name


@pytest.fixture(scope="session")
def stack(engine: EngineName, tmp_path_factory: pytest.TempPathFactory, picture_host: Peer) -> Iterator[Stack]:
    """A gateway without models."""
    folder = tmp_path_factory.mktemp("contract")
    models_dir = find_models(engine, tmp_path_factory.mktemp(engine))
    routes = RoutingTable(default_model="plain")
    hosts = (f"127.0.0.1:{picture_host.endpoint.port}",)
    settings = GatewaySettings(data_dir=folder / "gateway", image_url_private_hosts=hosts)
    with ExitStack() as running:
        url = running.enter_context(served(create_app(routes, settings)))
        client = running.enter_context(httpx.Client(base_url=url, timeout=DRAWING_SECONDS, trust_env=False))
        yield Stack(Gateway(url, routes, client, running.close), folder, models_dir, running)


@pytest.fixture(scope="session")
def plain(engine: EngineName, stack: Stack) -> Model:
    """The model with values of its own, the default model."""
    return stack.start("plain", SPECS[engine]["plain"])


@pytest.fixture(scope="session")
def adapted(engine: EngineName, stack: Stack) -> Model:
    """The model with a LoRA, of no weight unless a request gives it one, and all else that its engine adds."""
    return stack.start("adapted", SPECS[engine]["adapted"])


@pytest.fixture(scope="session")
def compatible(engine: EngineName, stack: Stack) -> Model:
    """The model with the defaults of sd-api-server."""
    return stack.start("compatible", SPECS[engine]["compatible"])
