"""A gateway that answers over HTTP."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import openai
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from cluster.waiting import eventually
from heliograph_api.naming import child_name
from heliograph_gateway.routing import Endpoint, RoutingTable
from heliograph_gateway.server import GatewayServer
from heliograph_gateway.settings import GatewaySettings

_PATIENCE = 30.0


@dataclass
class Gateway:
    """A gateway that answers over HTTP.

    Attributes:
        url: Its base URL.
        routes: Its routing table.
        client: An HTTP client for it.
        stop: Ends it before its test does.
    """

    url: str
    routes: RoutingTable
    client: httpx.Client
    stop: Callable[[], None]

    def set_endpoints(self, *endpoints: Endpoint) -> None:
        """Put other replicas behind the model `tiny`."""
        self.routes.set_endpoints("default", child_name("tiny"), endpoints)

    def generate(self, **options: Any) -> httpx.Response:
        """Ask for an image of the model `tiny`."""
        return self.client.post("/v1/images/generations", json={"model": "tiny", "prompt": "a circle"}, **options)

    def expect_metric(self, value: float, name: str, **labels: str) -> None:
        """Wait until the samples of a metric that have the given labels amount to a value.

        The client may have its answer before the request is counted.
        """
        eventually(lambda: self._metric(name, labels) == value, what=f"{name}{labels} of {value}")

    def wait_until_idle(self) -> None:
        """Wait until no request is outstanding at a runtime."""
        eventually(lambda: not any(count for _, count in self.routes.outstanding()), what="end of every request")

    def _metric(self, name: str, labels: dict[str, str]) -> float:
        text = self.client.get("/metrics").text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return sum(
            sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items()
        )


StartGateway = Callable[..., Gateway]
ConnectClient = Callable[..., openai.OpenAI]


@contextlib.contextmanager
def served(app: FastAPI, settings: GatewaySettings | None = None) -> Iterator[str]:
    """An app served on a loopback port by the gateway's server; the value is its URL."""
    server = GatewayServer(app, settings or GatewaySettings(), host="127.0.0.1", port=0, lifespan="on")
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            thread.join(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(_PATIENCE)
    assert not thread.is_alive()
