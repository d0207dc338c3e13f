"""Fixtures: the whole stack, and the clients that are pointed at it."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from clients.driven import SDK, SDKS
from clients.stack import Stack, serving
from clients.weights import save_documented_model
from gateway.manifests import image_model
from gateway.peers import Peer, answer
from gateway.running import served
from heliograph_api.naming import child_name
from heliograph_gateway.app import create_app
from heliograph_gateway.routing import RoutingTable
from heliograph_gateway.settings import GatewaySettings
from pictures import draw
from runtime.picture_files import as_file
from runtime.runtimes import EXAMPLES, TINY

ServeBefore = Callable[..., str]


@pytest.fixture(scope="session")
def picture_host() -> Iterator[Peer]:
    """A host in the network that serves a picture at every path."""
    picture = as_file(draw("blue", "star", "white", size=64))
    with Peer(answer(200, picture, content_type="image/png")) as host:
        yield host


@pytest.fixture(scope="session")
def stack(picture_host: Peer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two models: `tiny`, which is trained, and `sd`, the default, under the names that the documentation uses."""
    models = tmp_path_factory.mktemp("stack")
    shutil.copytree(EXAMPLES / "tiny-model" / "model", models / "tiny-model" / "model")
    save_documented_model(models)
    tiny = TINY | {"serving": {"aliases": ["stabilityai/sdxl-turbo"]}}
    documented = {
        "parameters": {"model": "model"},
        "step": 4,
        "lora_adapters": ["lora-models/realism_lora_comfy_converted.safetensors"],
        "lora_scales": [0],
        "diffusers": {"pipeline_type": "StableDiffusionPipeline", "control_net": "control"},
        "serving": {
            "aliases": [
                "gpt-image-1", "dall-e-3", "animagine-xl", "flux1-dev", "flux1-schnell", "sd-v1.4",
                "stable-diffusion-x4-upscaler", "stablediffusion-depth", "stablediffusion-edit",
            ]
        },
    }  # fmt: skip
    settings = {
        "default_model": "sd",
        "image_url_private_hosts": picture_host.endpoint.url.removeprefix("http://"),
        "data_dir": str(models / "data"),
    }
    with serving(models, {"tiny": tiny, "sd": documented}, **settings) as running_stack:
        yield running_stack


# For the session they would sort the tests of all modules, and each module's stack would start once for each of them.
@pytest.fixture(scope="module", params=list(SDKS))
def sdk(request: pytest.FixtureRequest) -> Iterator[SDK]:
    """OpenAI's client library, in each language and version."""
    with SDKS[request.param]() as driver:
        yield SDK(driver)


@pytest.fixture
def serve_before(tmp_path: Path) -> Iterator[ServeBefore]:
    """Serve a gateway in front of a runtime that does as it is told, and return the gateway's URL."""
    with ExitStack() as started:

        def serve(runtime: Peer, **settings: Any) -> str:
            routes = RoutingTable()
            routes.set_model(image_model("tiny"))
            routes.set_endpoints("default", child_name("tiny"), [runtime.endpoint])
            app = create_app(routes, GatewaySettings(data_dir=tmp_path, **settings))
            return started.enter_context(served(app))

        yield serve


@pytest.fixture
def picture(tmp_path: Path) -> str:
    """A picture's file."""
    file = tmp_path / "picture.png"
    file.write_bytes(as_file(draw("red", "circle", "white", size=64)))
    return str(file)
