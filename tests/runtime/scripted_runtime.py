"""The runtime's HTTP application in this process, with the scripted worker instead of a model."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from cluster.waiting import eventually
from heliograph_api.manifest import read_manifests
from heliograph_runtime.app import create_app
from heliograph_runtime.service import Service
from heliograph_runtime.settings import RuntimeSettings
from runtime import scripted_worker
from runtime.runtimes import EXAMPLES

MANIFEST = EXAMPLES / "tiny.yaml"


class ScriptedRuntime:
    """A runtime that answers over HTTP.

    Attributes:
        service: Its inside.
        url: Its address.
        client: A client for it.
    """

    def __init__(self, service: Service, url: str, client: httpx.Client) -> None:
        self.service = service
        self.url = url
        self.client = client

    def post(self, path: str = "/v1/images/generations", **body: Any) -> httpx.Response:
        # The scripted engine draws seeds as brightness.
        return self.client.post(path, json={"seed": 1, **body})

    def requests(self, outcome: str) -> float:
        """Return how many requests ended so."""
        value = self.service.metrics.registry.get_sample_value(
            "heliograph_runtime_requests_total", {"outcome": outcome}
        )
        assert value is not None
        return value

    def wait_idle(self) -> None:
        registry = self.service.metrics.registry
        eventually(
            lambda: not registry.get_sample_value("heliograph_runtime_requests_at_work"), what="end of every request"
        )


@contextmanager
def scripted_runtime(**settings: Any) -> Iterator[ScriptedRuntime]:
    """Run the application with a worker whose engine does what a prompt says, see `scripted_worker`."""
    (model,) = read_manifests(MANIFEST.read_text(), default_name="tiny")
    with pytest.MonkeyPatch.context() as patch:
        command = (sys.executable, "-P", str(Path(scripted_worker.__file__)))
        patch.setattr("heliograph_runtime.worker.process._COMMAND", command)
        service = Service(model, RuntimeSettings.model_validate({"manifest": MANIFEST, **settings}))
        config = uvicorn.Config(create_app(service, on_failure=print), port=0, log_config=None, access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, name="runtime")
        thread.start()
        try:
            eventually(lambda: server.started and service.supervisor.unready is None, what="the runtime")
            url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
            with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
                yield ScriptedRuntime(service, url, client)
        finally:
            server.should_exit = True
            thread.join(timeout=60)
    assert not thread.is_alive()
