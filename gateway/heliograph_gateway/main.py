"""The gateway's process: informers and HTTP server in one event loop."""

import asyncio
import contextlib
import os
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
from heliograph_gateway.logs import configure_logging
from heliograph_gateway.routing import RoutingTable
from heliograph_gateway.server import GatewayServer, run_in_loop
from heliograph_gateway.settings import GatewaySettings
from heliograph_gateway.state import State
from heliograph_gateway.tls import Tls, open_tls
from heliograph_gateway.tracing import start_tracing
from heliograph_gateway.waking import ScaleWaker
from heliograph_gateway.watch import informers

_LOAD_SHUTDOWN_SECONDS = 1


def run(settings: GatewaySettings) -> int:
    """Serve until SIGTERM or SIGINT, finish the requests at work, and return the exit status."""
    configure_logging(settings.log_format)
    return run_in_loop(_run(settings))


async def _run(settings: GatewaySettings) -> int:
    try:
        api = await KubeApi.connect()
    except KubeError as error:
        print(f"heliograph gateway: {error}", file=sys.stderr)  # noqa: T201 - what a person who starts it is to read
        return 1
    routes = RoutingTable(default_model=settings.default_model)
    async with api:
        try:
            state = State(settings)
            tls = open_tls(settings)
            await state.open()
        except StateError as error:
            print(f"heliograph gateway: {error}", file=sys.stderr)  # noqa: T201 - as above
            return 1
        sources = informers(api, routes, settings.namespaces)
        health, loads = Health(sources), Loads()
        app = create_app(
            routes,
            settings,
            health=health,
            state=state,
            loads=loads,
            waker=ScaleWaker(api),
            tracing=start_tracing(os.environ),
        )
        server = _Server(settings, app, health, tls)
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


class _Server(GatewayServer):
    def __init__(self, settings: GatewaySettings, app: FastAPI, health: Health, tls: Tls | None) -> None:
        super().__init__(
            app,
            settings,
            tls=tls,
            host=settings.host,
            port=settings.port,
            timeout_graceful_shutdown=settings.shutdown_timeout,
        )
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
