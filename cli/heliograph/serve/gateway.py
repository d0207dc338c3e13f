"""The gateway inside of `heliograph serve`."""

import contextlib
import os
from collections.abc import Iterator

import click

from heliograph_gateway.app import create_app
from heliograph_gateway.database import StateError
from heliograph_gateway.routing import RoutingTable
from heliograph_gateway.server import GatewayServer, prepare_process
from heliograph_gateway.settings import GatewaySettings
from heliograph_gateway.state import State
from heliograph_gateway.tls import open_tls
from heliograph_gateway.tracing import start_tracing


class Gateway(GatewayServer):
    """The gateway's server without signal handlers: the session's decide, since they look after the runtimes too."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals as they are."""
        yield


async def make_gateway(table: RoutingTable, settings: GatewaySettings) -> Gateway:
    """Return a gateway that has what it keeps open, to be run on a socket.

    Args:
        table: The models to route to.
        settings: The gateway's settings.

    Raises:
        click.ClickException: What it keeps cannot be used.
    """
    prepare_process()
    try:
        state = State(settings)
        tls = open_tls(settings)
        await state.open()
    except StateError as error:
        raise click.ClickException(str(error)) from None
    app = create_app(table, settings, state=state, tracing=start_tracing(os.environ))
    return Gateway(app, settings, tls=tls)
