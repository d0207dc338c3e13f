"""The gateway inside of `heliograph serve`."""

import contextlib
from collections.abc import Iterator

import click
import uvicorn

from heliograph_gateway.app import create_app
from heliograph_gateway.database import StateError
from heliograph_gateway.routing import RoutingTable
from heliograph_gateway.settings import GatewaySettings
from heliograph_gateway.state import State


class Gateway(uvicorn.Server):
    """uvicorn without its signal handlers: the session's decide, since they look after the runtimes too."""

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
    state = State(settings)
    try:
        await state.open()
    except StateError as error:
        raise click.ClickException(str(error)) from None
    app = create_app(table, settings, state=state)
    return Gateway(
        uvicorn.Config(app, log_config=None, access_log=False, server_header=False, proxy_headers=False, ws="none")
    )
