"""A gateway between hosts that pictures may be fetched from and hosts that nothing may reach.

In networks of its own where they can be made, else on loopback addresses.
"""

import http.client
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cluster.addresses import free_port
from cluster.leash import Leash
from cluster.waiting import eventually
from heliograph_gateway.routing import Endpoint
from hostile.lone_gateway import LoneGateway, lone_gateway
from hostile.netns import PORTS, PROGRAM, Networks, available, networks
from hostile.recording import Recorder
from hostile.ssrf_cases import INSIDE, META, NAMES


@dataclass
class Site:
    """A gateway, and what is around it.

    Attributes:
        gateway: The gateway.
        client: An HTTP client for it.
        runtime: What is behind it.
        public: Authority of a host that pictures may be fetched from.
        port: A port that the sinks listen on, and which is allowed.
        has_names: Whether a name server of the tests' own is asked.
        hits: Returns what has reached a sink.
        reach: Reaches each sink; returns how many there are.
    """

    gateway: LoneGateway
    client: httpx.Client
    runtime: Recorder
    public: str
    port: int
    has_names: bool
    hits: Callable[[], list[dict[str, Any]]]
    reach: Callable[[], int]

    @property
    def picture(self) -> str:
        return f"http://{self.public}/a.png"

    def redirect(self, location: str, status: int = 302, *, host: str = "") -> str:
        """Return a URL that is answered with a redirect."""
        return f"http://{host or self.public}/redirect/{status}/{location.encode('latin-1').hex()}"


@contextmanager
def site(folder: Path) -> Iterator[Site]:
    """Make a site; its end proves that the sinks were alive, and that nothing had reached them."""
    with _in_networks(folder) if available() else _on_loopback(folder) as made:
        yield made
        assert made.hits() == []
        count = made.reach()
        eventually(lambda: len({json.dumps(hit) for hit in made.hits()}) >= count, what="hits at every sink")


@contextmanager
def _in_networks(folder: Path) -> Iterator[Site]:
    settings: dict[str, Any] = {
        "image_url_hosts": ",".join(["*", *(f"*:{port}" for port in PORTS)]),
        "image_url_timeout": 5,
    }
    proxy = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"), f"http://{INSIDE}:8080")
    with networks(folder, NAMES) as nets, Recorder(host="") as runtime:
        place = [Endpoint(nets.here, runtime.endpoint.port)]
        with (
            lone_gateway(
                folder, place, host=nets.gateway, before=nets.before(), environment=proxy, **settings
            ) as gateway,
            _client(gateway) as client,
        ):
            yield Site(
                gateway,
                client,
                runtime,
                "pictures.test",
                8080,
                True,
                lambda: [hit for host in ("meta", "cluster", "gateway") for hit in nets.packets(host)],
                lambda: _reach(nets),
            )


def _reach(nets: Networks) -> int:
    places = (META, INSIDE, "127.0.0.1")
    for address in places:
        nets.connect(address, 8080)
    return len(places)


@contextmanager
def _on_loopback(folder: Path) -> Iterator[Site]:
    with ExitStack() as running:
        public, *sinks = (free_port() for _ in range(3))
        for name, wanted in {"public": {"public": [public]}, "sinks": {"sink": sinks}}.items():
            command = [sys.executable, "-I", "-S", str(PROGRAM), json.dumps(wanted)]
            leash = running.enter_context(Leash(command, log=folder / f"{name}.log", grace=0))
            leash.wait_until(lambda log=leash.log: "ready" in log.read_text())  # type: ignore[misc]
        runtime = running.enter_context(Recorder())
        settings: dict[str, Any] = {
            "image_url_hosts": ",".join(["*", *(f"*:{port}" for port in sinks)]),
            "image_url_private_hosts": f"127.0.0.1:{public}",
            "image_url_timeout": 2,
        }
        gateway = running.enter_context(lone_gateway(folder, [runtime.endpoint], **settings))
        client = running.enter_context(_client(gateway))
        log = folder / "sinks.log"

        def hits() -> list[dict[str, Any]]:
            return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]

        def reach() -> int:
            for number, port in enumerate(sinks):
                connection = http.client.HTTPConnection(f"127.0.0.{number + 2}", port, timeout=10)
                connection.request("GET", f"/{port}")
                connection.getresponse().read()
                connection.close()
            return len(sinks)

        yield Site(gateway, client, runtime, f"127.0.0.1:{public}", sinks[0], False, hits, reach)


def _client(gateway: LoneGateway) -> httpx.Client:
    return httpx.Client(base_url=gateway.url, timeout=60, trust_env=False)
