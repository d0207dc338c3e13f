"""The gateway's process: informers and HTTP server in one event loop."""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import AsyncIterator, Iterator

import uvicorn
from fastapi import FastAPI

from heliograph_gateway.app import create_app
from heliograph_gateway.database import StateError
from heliograph_gateway.health import Health
from heliograph_gateway.kube import KubeApi, KubeError
from heliograph_gateway.load import Loads, load_app
from heliograph_gateway.routing import RoutingTable
from heliograph_gateway.settings import GatewaySettings
from heliograph_gateway.state import State
from heliograph_gateway.waking import ScaleWaker
from heliograph_gateway.watch import informers

_KEEP_ALIVE_SECONDS = 75
"""Longer than the 60 s after which common load balancers close an idle connection, so that they do it first."""
_LOAD_SHUTDOWN_SECONDS = 1


def run(settings: GatewaySettings) -> int:
    """Serve until SIGTERM or SIGINT, finish the requests at work, and return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # Its line for each request to a runtime says less than the access log.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return asyncio.run(_run(settings))


async def _run(settings: GatewaySettings) -> int:
    try:
        api = await KubeApi.connect()
    except KubeError as error:
        print(f"heliograph gateway: {error}", file=sys.stderr)  # noqa: T201 - what a person who starts it is to read
        return 1
    routes = RoutingTable(default_model=settings.default_model)
    async with api:
        state = State(settings)
        try:
            await state.open()
        except StateError as error:
            print(f"heliograph gateway: {error}", file=sys.stderr)  # noqa: T201 - as above
            return 1
        sources = informers(api, routes, settings.namespaces)
        health, loads = Health(sources), Loads()
        app = create_app(routes, settings, health=health, state=state, loads=loads, waker=ScaleWaker(api))
        server = _Server(settings, app, health)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(source.run(), name=source.name) for source in sources]
            # It answers to the end: a request that still finishes is load.
            async with _load_listener(settings, loads):
                await server.serve()
            for task in running:
                task.cancel()
    return 0


@contextlib.asynccontextmanager
async def _load_listener(settings: GatewaySettings, loads: Loads) -> AsyncIterator[None]:
    """Tell the load on its own port, if there is one, inside the `async with` block."""
    if settings.load_port is None:
        yield
        return
    server = _LoadServer(settings, settings.load_port, loads)
    serving = asyncio.create_task(server.serve(), name="load")
    try:
        yield
    finally:
        server.should_exit = True
        await serving


class _LoadServer(uvicorn.Server):
    def __init__(self, settings: GatewaySettings, port: int, loads: Loads) -> None:
        config = uvicorn.Config(
            load_app(loads),
            host=settings.host,
            port=port,
            log_config=None,
            access_log=False,
            server_header=False,
            ws="none",
            lifespan="off",
            timeout_graceful_shutdown=_LOAD_SHUTDOWN_SECONDS,
        )
        super().__init__(config)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the other server."""
        yield


class _Server(uvicorn.Server):
    def __init__(self, settings: GatewaySettings, app: FastAPI, health: Health) -> None:
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=settings.shutdown_timeout,
        )
        super().__init__(config)
        self._health = health

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Drain on SIGTERM and SIGINT, and end with status 0: uvicorn's own way ends by the signal."""
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            loop.add_signal_handler(number, self._drain, number)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _drain(self, number: signal.Signals) -> None:
        # A second Ctrl-C means now.
        self.force_exit = self.should_exit and number == signal.SIGINT
        self.should_exit = True
        self._health.draining = True
