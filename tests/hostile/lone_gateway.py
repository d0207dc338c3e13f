"""The gateway as it is served, without a cluster: a program, and how tests start it.

As a program it takes the addresses of the replicas of the model `tiny` as HOST:PORT, and settings from the environment.
"""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from cluster.addresses import free_port
from cluster.leash import Leash
from cluster.waiting import eventually
from gateway.manifests import image_model
from heliograph_api.naming import child_name
from heliograph_gateway import main
from heliograph_gateway.app import create_app
from heliograph_gateway.health import Health
from heliograph_gateway.logs import configure_logging
from heliograph_gateway.routing import Endpoint, RoutingTable
from heliograph_gateway.server import run_in_loop
from heliograph_gateway.settings import GatewaySettings
from heliograph_gateway.tls import open_tls
from heliograph_gateway.tracing import start_tracing

_TESTS = Path(__file__).resolve().parents[1]


@dataclass
class LoneGateway:
    """A gateway in a process of its own.

    Attributes:
        leash: The process, with its output in `leash.log`.
        host: Address that it listens on.
        port: TCP port that it listens on.
    """

    leash: Leash
    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def connect(self, *, timeout: float = 10.0) -> socket.socket:
        """Return a fresh connection."""
        return socket.create_connection((self.host, self.port), timeout=timeout)

    def tasks(self) -> int:
        """Return how many tasks its event loop has."""
        before = self._counts()
        self.leash.send_signal(signal.SIGUSR1)
        return int(eventually(lambda: self._counts()[len(before) :], what="count of tasks")[0])

    def _counts(self) -> list[str]:
        return re.findall(r"^tasks (\d+)$", self.leash.log.read_text(), re.MULTILINE)

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False).is_success
        except httpx.TransportError:
            return False


@contextmanager
def lone_gateway(
    folder: Path,
    endpoints: Sequence[Endpoint],
    *,
    host: str = "127.0.0.1",
    before: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    **settings: object,
) -> Iterator[LoneGateway]:
    """Start a gateway, and yield it once it is ready.

    Args:
        folder: Where it keeps what it stores, and its log.
        endpoints: The replicas of the model `tiny`.
        host: Address that it listens on.
        before: What its command line is put behind, such as `ip netns exec NAME`.
        environment: Variables beside the settings.
        settings: Its settings.
    """
    port = free_port()
    given = {"host": host, "port": port, "data_dir": folder / "data", "response_format": "b64_json", **settings}
    variables = {f"HELIOGRAPH_GATEWAY_{name.upper()}": str(value) for name, value in given.items()}
    places = [f"{endpoint.host}:{endpoint.port}" for endpoint in endpoints]
    command = [*before, sys.executable, "-m", "hostile.lone_gateway", *places]
    paths = {"PYTHONPATH": str(_TESTS)}
    with Leash(
        command, log=folder / "gateway.log", env={**os.environ, **paths, **(environment or {}), **variables}
    ) as leash:
        gateway = LoneGateway(leash, host, port)
        leash.wait_until(gateway.is_ready)
        yield gateway


async def _serve(endpoints: Sequence[Endpoint]) -> None:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, lambda: print("tasks", len(asyncio.all_tasks()), flush=True))  # noqa: T201
    settings = GatewaySettings()
    routes, health = RoutingTable(), Health()
    routes.set_model(image_model("tiny"), created=1_700_000_000)
    routes.set_endpoints("default", child_name("tiny"), endpoints)
    app = create_app(routes, settings, health=health, tracing=start_tracing(os.environ))
    await main._Server(settings, app, health, open_tls(settings)).serve()


def _endpoint(text: str) -> Endpoint:
    host, _, port = text.rpartition(":")
    return Endpoint(host, int(port))


if __name__ == "__main__":
    configure_logging(GatewaySettings().log_format)
    run_in_loop(_serve([_endpoint(text) for text in sys.argv[1:]]))
