"""Probes and metrics over HTTP, served by the loop that does the work, so that a blocked loop shows."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from heliograph_operator.inventory import Inventory
from heliograph_operator.metrics import Metrics

logger = logging.getLogger(__name__)

_MISSED_LIMIT_SECONDS = 120.0


class ListenError(Exception):
    """Health and metrics cannot be served where they should be."""


class Health:
    """How the operator itself is."""

    def __init__(self, *, inventory: Inventory, metrics: Metrics) -> None:
        """Judge by `inventory` and show `metrics`."""
        self.ready = asyncio.Event()
        """Set when all there is has been listed and is watched, or when another replica does so."""
        self._inventory = inventory
        self._metrics = metrics

    def app(self) -> web.Application:
        """Return the HTTP application."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._live),
                web.get("/readyz", self._ready),
                web.get("/metrics", self._show_metrics),
            ]
        )
        return app

    async def _live(self, _: web.Request) -> web.Response:
        missed = self._inventory.missed_for(asyncio.get_running_loop().time())
        if missed > _MISSED_LIMIT_SECONDS:
            text = f"the watch is dead: it has missed a change for {missed:.0f} s"
            # The kubelet, which ends the process for it, tells the status alone.
            logger.error("%s", text)
            return web.Response(status=500, text=f"{text}\n")
        return web.Response(text="ok\n")

    async def _ready(self, _: web.Request) -> web.Response:
        if not self.ready.is_set():
            return web.Response(status=503, text="the ImageModels could not be listed so far; see the log\n")
        return web.Response(text="ok\n")

    async def _show_metrics(self, _: web.Request) -> web.Response:
        self._metrics.models(self._inventory.conditions())
        return web.Response(body=self._metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4"})


@asynccontextmanager
async def serve_health(health: Health, *, host: str, port: int) -> AsyncIterator[None]:
    """Serve probes and metrics inside the `with` block.

    Raises:
        ListenError: The address cannot be listened on.
    """
    # kopf waits at its end for whatever task began after it, and an idle connection is one.
    runner = web.AppRunner(health.app(), access_log=None, keepalive_timeout=0.0, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ListenError(f"health_host, health_port: cannot listen on {host}:{port}: {error.strerror}") from error
        yield
    finally:
        await runner.cleanup()
