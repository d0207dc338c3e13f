"""A gateway in front of given replicas of the model `tiny`, to be run as a process; `leashed` does that."""

import json
import socket
import sys

from gateway.manifests import image_model
from heliograph_api.naming import child_name
from heliograph_gateway.app import create_app
from heliograph_gateway.routing import Endpoint, RoutingTable
from heliograph_gateway.server import GatewayServer, run_in_loop
from heliograph_gateway.settings import GatewaySettings


async def _main(replicas: str, spec: str) -> None:
    routes = RoutingTable()
    routes.set_model(image_model("tiny", **json.loads(spec)), created=1_700_000_000)
    endpoints = [Endpoint(host, int(port)) for host, _, port in (each.rpartition(":") for each in replicas.split(","))]
    routes.set_endpoints("default", child_name("tiny"), endpoints)
    settings = GatewaySettings()
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print("port", listener.getsockname()[1], flush=True)  # noqa: T201 - what started it reads it
    await GatewayServer(create_app(routes, settings), settings).serve(sockets=[listener])


if __name__ == "__main__":
    run_in_loop(_main(*sys.argv[1:]))
