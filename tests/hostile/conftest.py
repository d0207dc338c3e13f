"""Fixtures of the hostile tests: for each engine one gateway with a key, in front of one runtime with a small model."""

from collections.abc import Iterator
from typing import get_args

import httpx
import pytest

from cluster.addresses import free_port
from cluster.leash import Leash
from contract.models import SPECS, EngineName, find_models
from gateway.manifests import image_model
from gateway.running import served
from heliograph_api.naming import child_name
from heliograph_gateway.app import create_app
from heliograph_gateway.routing import Endpoint, RoutingTable
from heliograph_gateway.settings import GatewaySettings
from hostile.exchanges import KEY
from hostile.stacks import Stack
from pictures import classify
from runtime.runtimes import Runtime, command, difference, write_manifest

SMALL = {"step": 1, "serving": {"limits": {"maxImages": 2, "maxPixels": 16_384}}}
"""Whatever is drawn is small, and drawn in one step unless the request names more."""
GROWTH = 512 * 1024 * 1024
"""Memory in bytes that a module of tests may leave a process with: far more than one does, far less than a leak is."""


@pytest.fixture(scope="session", params=get_args(EngineName))
def engine(request: pytest.FixtureRequest) -> EngineName:
    """The engine that draws; whatever depends on it runs over each."""
    name: EngineName = request.param
    return name


@pytest.fixture(scope="session")
def stack(engine: EngineName, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack of an engine, one for the whole test run."""
    folder = tmp_path_factory.mktemp("hostile")
    spec = SPECS[engine]["plain"] | SMALL
    models_dir = find_models(engine, tmp_path_factory.mktemp(engine))
    port = free_port()
    routes = RoutingTable()
    routes.set_model(image_model("tiny", **spec), created=1_700_000_000)
    routes.set_endpoints("default", child_name("tiny"), [Endpoint("127.0.0.1", port)])
    # Any host at all, so that it is the addresses that are refused.
    settings = GatewaySettings(data_dir=folder / "data", api_key=KEY, image_url_hosts="*", image_url_timeout=2)
    arguments = command(write_manifest(folder, spec), port=port, models_dir=models_dir)
    with Leash(arguments, log=folder / "log") as leash:
        running = Runtime(leash, f"http://127.0.0.1:{port}")
        running.wait_ready()
        with served(create_app(routes, settings)) as url:
            headers = {"authorization": f"Bearer {KEY}"}
            with httpx.Client(base_url=url, headers=headers, timeout=120, trust_env=False) as client:
                yield Stack(url, client, running)


@pytest.fixture(scope="module")
def unharmed(engine: EngineName, stack: Stack) -> Iterator[None]:
    """After a module's requests the processes are the same, no larger than they may be, and draw what is asked for."""
    before, first = stack.processes(), stack.draw()
    sizes = {name: process.memory_info().rss for name, process in before.items()}
    yield
    after = stack.processes()
    assert after == before
    for name, process in after.items():
        assert process.memory_info().rss - sizes[name] < GROWTH, name
    picture = stack.draw()
    assert difference(picture, first) == 0
    if engine == "diffusers":
        drawn = classify(picture)
        assert (drawn.colour, drawn.shape) == ("red", "circle")


@pytest.fixture
def same_worker(stack: Stack) -> Iterator[None]:
    """No request costs the worker its life."""
    worker = stack.runtime.worker
    yield
    assert stack.runtime.worker == worker
