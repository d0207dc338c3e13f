"""Real runtimes behind a real gateway, and requests as a client of the gateway sends them."""

import io
import json
from base64 import b64decode
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from cluster.addresses import free_port
from cluster.leash import Leash
from contract.models import Spec
from gateway.manifests import image_model
from gateway.running import Gateway
from heliograph_api.naming import child_name
from heliograph_gateway.routing import Endpoint
from runtime.runtimes import Runtime, command, write_manifest

GENERATIONS = "/v1/images/generations"
EDITS = "/v1/images/edits"
SMALL: dict[str, Any] = {"size": "32x32", "steps": 1}
"""What a picture that only has to differ from another is asked for with."""
Part = tuple[str | None, str | bytes]
"""A part of a form: its file name, None for a text, and what it says."""


@dataclass
class Model:
    """A model as a client sees it; of the methods, those named post take any answer, the others only a success.

    Attributes:
        name: What requests call it.
        spec: Its spec.
        client: HTTP client of the gateway.
    """

    name: str
    spec: Spec = field(repr=False)
    client: httpx.Client = field(repr=False)

    def post(self, path: str = GENERATIONS, **fields: Any) -> httpx.Response:
        """Send a request as JSON, with the model's name unless the fields have another."""
        return self.client.post(path, json={"model": self.name, **fields})

    def post_form(self, path: str = GENERATIONS, parts: Iterable[tuple[str, Part]] = ()) -> httpx.Response:
        """Send a form, with the model's name in front."""
        return self.client.post(path, files=[("model", (None, self.name)), *parts])

    def answer(self, path: str = GENERATIONS, **fields: Any) -> Any:
        """Return the JSON answer to a request, whose pictures come inline."""
        return succeeded(self.post(path, **{"response_format": "b64_json", **fields})).json()

    def file(self, path: str = GENERATIONS, **fields: Any) -> str:
        """Return the one file that a request is answered with, in base64."""
        (item,) = self.answer(path, **fields)["data"]
        return str(item["b64_json"])

    def draw(self, path: str = GENERATIONS, **fields: Any) -> list[Image.Image]:
        """Return the pictures that a request is answered with."""
        return [decoded(item) for item in self.answer(path, **fields)["data"]]

    def draw_one(self, path: str = GENERATIONS, **fields: Any) -> Image.Image:
        """Return the one picture that a request is answered with."""
        (picture,) = self.draw(path, **fields)
        return picture


@dataclass
class Stack:
    """A gateway whose models are started one by one, as tests come to need them.

    Attributes:
        gateway: The gateway.
        folder: Where manifests and logs go.
        models_dir: Where models are.
        running: What ends it all.
        endpoints: The runtime of each model.
    """

    gateway: Gateway
    folder: Path
    models_dir: Path
    running: ExitStack
    endpoints: dict[str, Endpoint] = field(default_factory=dict)

    def start(self, name: str, spec: Spec) -> Model:
        """Start the runtime of a model and put it behind the gateway."""
        folder = self.folder / name
        folder.mkdir()
        port = free_port()
        arguments = command(write_manifest(folder, spec), port=port, models_dir=self.models_dir)
        leash = self.running.enter_context(Leash(arguments, log=folder / "log"))
        Runtime(leash, f"http://127.0.0.1:{port}").wait_ready()
        self.endpoints[name] = Endpoint("127.0.0.1", port)
        return self._add(name, spec, self.endpoints[name])

    def add_like(self, other: Model, name: str, **spec: Any) -> Model:
        """Put a model behind the gateway that has the runtime of another one, and its spec but for these fields.

        Only the gateway knows that spec.
        """
        return self._add(name, {**other.spec, **spec}, self.endpoints[other.name])

    def _add(self, name: str, spec: Spec, endpoint: Endpoint) -> Model:
        self.gateway.routes.set_model(image_model(name, **spec))
        self.gateway.routes.set_endpoints("default", child_name(name), [endpoint])
        return Model(name, spec, self.gateway.client)


def succeeded(response: httpx.Response) -> httpx.Response:
    """Return a response that must be a success."""
    assert response.status_code == 200, response.text
    return response


def refusal(response: httpx.Response, status: int = 400) -> dict[str, Any]:
    """Return the error of a response that must be one."""
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return error


def decoded(item: Mapping[str, Any]) -> Image.Image:
    """Return the picture of an entry of `data`."""
    picture = Image.open(io.BytesIO(b64decode(item["b64_json"], validate=True)))
    picture.load()
    return picture


def events(response: httpx.Response) -> list[dict[str, Any]]:
    """Return what the events of a stream say, without comments and `[DONE]`."""
    assert response.headers["content-type"].startswith("text/event-stream"), response.text
    lines = succeeded(response).text.splitlines()
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return [json.loads(said) for said in data if said != "[DONE]"]
