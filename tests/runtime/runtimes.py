"""A running `heliograph runtime`, as the tests look at it."""

import base64
import io
import json
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from cluster.leash import Leash
from cluster.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
TINY = {
    "parameters": {"model": "tiny-model/model"},
    "step": 20,
    "cfg_scale": 4,
    "diffusers": {"pipeline_type": "StableDiffusionPipeline"},
}
LOADING_SECONDS = 240.0
DRAWING_SECONDS = 240.0
LONG = {"prompt": "a blue star on a white background", "steps": 999}
"""A request that is at work until something stops it: far longer than any test waits for."""


def command(manifest: Path, *, port: int, models_dir: Path = EXAMPLES, **options: object) -> list[str]:
    """Return the command line of a runtime."""
    given = {"manifest": manifest, "models_dir": models_dir, "host": "127.0.0.1", "port": port, **options}
    flags = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    return [sys.executable, "-P", "-m", "heliograph", "runtime", *flags]


def write_manifest(folder: Path, spec: Mapping[str, Any]) -> Path:
    """Write an ImageModel as the operator mounts it."""
    manifest = folder / "model.json"
    manifest.write_text(
        json.dumps(
            {"apiVersion": "heliograph.dev/v1alpha1", "kind": "ImageModel", "metadata": {"name": "m"}, "spec": spec}
        )
    )
    return manifest


@dataclass
class Runtime:
    """A running runtime.

    Attributes:
        leash: The HTTP process, with the output of both processes in `leash.log`.
        url: Its address.
    """

    leash: Leash
    url: str

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=30, trust_env=False)

    def post(self, **body: Any) -> httpx.Response:
        return self.post_to("/v1/images/generations", json=body)

    def post_to(self, path: str, **content: Any) -> httpx.Response:
        """Send a request with `json`, or with `data` and `files` of a form."""
        return httpx.post(f"{self.url}{path}", timeout=DRAWING_SECONDS, trust_env=False, **content)

    def edit(self, prompt: str, path: str = "/v1/images/edits", **fields: Any) -> Image.Image:
        """Return the picture of an edit that must succeed."""
        response = self.post_to(path, json={"prompt": prompt, **fields})
        assert response.status_code == 200, response.text
        (picture,) = pictures(response)
        return picture

    def draw(self, prompt: str | list[str] = "a red circle on a white background", **fields: Any) -> list[Image.Image]:
        """Return the pictures of a request that must succeed."""
        response = self.post(prompt=prompt, **fields)
        assert response.status_code == 200, response.text
        return pictures(response)

    def metric(self, name: str, **labels: str) -> float:
        """Return one sample, `name` without the prefix."""
        wanted = f"heliograph_runtime_{name}"
        for family in text_string_to_metric_families(self.get("/metrics").text):
            for sample in family.samples:
                if sample.name == wanted and sample.labels == labels:
                    return sample.value
        raise KeyError(wanted)

    @property
    def worker(self) -> psutil.Process:
        (found,) = psutil.Process(self.leash.pid).children()
        return found

    def wait_ready(self) -> None:
        def ready() -> bool:
            try:
                return self.get("/readyz").status_code == 200
            except httpx.TransportError:
                return False

        self.leash.wait_until(ready, timeout=LOADING_SECONDS)

    def wait_busy(self, busy: bool = True) -> None:
        eventually(lambda: self.metric("worker_busy") == busy, what=f"worker busy: {busy}", timeout=DRAWING_SECONDS)

    @contextmanager
    def left(self, **body: Any) -> Iterator[None]:
        """Send a request, run the block once the worker draws it, then leave without having waited for the answer."""
        connection = HTTPConnection(self.url.removeprefix("http://"), timeout=DRAWING_SECONDS)
        with closing(connection):
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/v1/images/generations", body=json.dumps(body), headers=headers)
            self.wait_busy()
            yield

    def start(self, executor: ThreadPoolExecutor, **body: Any) -> "Future[httpx.Response]":
        """Send a request and return once the worker draws it."""
        answer = executor.submit(self.post, **body)
        self.wait_busy()
        return answer


def pictures(response: httpx.Response) -> list[Image.Image]:
    """Return the pictures in an answer."""
    return [Image.open(io.BytesIO(base64.b64decode(item["b64_json"]))) for item in response.json()["data"]]


def difference(first: Image.Image, second: Image.Image) -> int:
    """Return the largest difference of two pictures in any channel of any pixel."""
    return int(np.abs(np.asarray(first, dtype=int) - np.asarray(second, dtype=int)).max())
