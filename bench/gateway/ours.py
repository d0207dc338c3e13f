"""The gateway as it is served, with one replica and without a cluster.

python -m bench.gateway.ours PORT REPLICA_PORT
"""

import logging
import sys

from heliograph_api.manifest import ImageModel
from heliograph_api.naming import child_name
from heliograph_gateway.app import create_app
from heliograph_gateway.routing import Endpoint, RoutingTable
from heliograph_gateway.server import GatewayServer, run_in_loop
from heliograph_gateway.settings import GatewaySettings

MODEL = "tiny"


async def _serve(port: int, replica: int) -> None:
    settings = GatewaySettings()
    routes = RoutingTable()
    manifest = {"metadata": {"name": MODEL, "namespace": "default"}, "spec": {"parameters": {"model": "weights"}}}
    routes.set_model(ImageModel.from_object(manifest))
    routes.set_endpoints("default", child_name(MODEL), [Endpoint("127.0.0.1", replica)])
    await GatewayServer(create_app(routes, settings), settings, host="127.0.0.1", port=port).serve()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    run_in_loop(_serve(int(sys.argv[1]), int(sys.argv[2])))
