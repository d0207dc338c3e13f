"""The gateway's HTTP application."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from heliograph_gateway.admin.router import admin_router
from heliograph_gateway.auth import RequireKey
from heliograph_gateway.boundary import Boundary
from heliograph_gateway.errors import ExactPaths, add_error_handlers
from heliograph_gateway.files.router import files_router
from heliograph_gateway.health import Health, health_router
from heliograph_gateway.holding import Hold, Waker
from heliograph_gateway.images.router import images_router
from heliograph_gateway.keys.cors import allow_origins
from heliograph_gateway.keys.keyring import KeyMetrics
from heliograph_gateway.keys.scopes import DOCS_PATH, OPENAPI_PATH
from heliograph_gateway.load import Loads
from heliograph_gateway.metrics import Metrics, metrics_router
from heliograph_gateway.models.capabilities import KnownCapabilities
from heliograph_gateway.models.loading import Loader
from heliograph_gateway.models.reading import ReplicaReader
from heliograph_gateway.models.router import models_router
from heliograph_gateway.own_names import OwnNames
from heliograph_gateway.page.router import page_router
from heliograph_gateway.proxy import Upstream
from heliograph_gateway.routing import RoutingTable
from heliograph_gateway.sdapi.router import sdapi_router
from heliograph_gateway.settings import GatewaySettings
from heliograph_gateway.state import State
from heliograph_gateway.tracing import Tracing
from heliograph_gateway.usage.meter import Meter
from heliograph_gateway.usage.router import usage_router
from heliograph_gateway.videos.router import Videos
from heliograph_gateway.videos.runner import VideoRunner


def create_app(
    routes: RoutingTable,
    settings: GatewaySettings,
    *,
    health: Health | None = None,
    state: State | None = None,
    loads: Loads | None = None,
    waker: Waker | None = None,
    tracing: Tracing | None = None,
) -> FastAPI:
    """Return the application.

    Args:
        routes: The routing table, which its owner keeps up to date in the event loop that runs the application.
        settings: The settings; the models, host and port are the caller's business.
        health: What /readyz tells; ready from the start when absent.
        state: What the gateway keeps between requests; made from the settings when absent. It is opened when the
            application starts, unless it is open by then, and closed when the application ends.
        loads: Where the requests of each model are counted as long as they last; of nobody's interest when absent.
        waker: What starts the replicas of a model that has none, while its requests are held; closed when the
            application ends. When absent, no request waits for a replica, but for room at one alone.
        tracing: Where spans of requests go, closed when the application ends; none are made when absent.
    """
    health = health or Health()
    state = state or State(settings)
    loads = loads or Loads()
    metrics = Metrics(routes, health, loads)
    reader = ReplicaReader()
    hold = Hold(routes, settings, metrics, loads=loads, waker=waker, reader=reader)
    upstream = Upstream(routes, settings, metrics, loads=loads, hold=hold)
    capabilities = KnownCapabilities(routes, reader)
    meter = Meter(metrics, state.usage)
    tracer = tracing.tracer if tracing else None
    loader = Loader(routes, hold)
    runner = VideoRunner(upstream, state, settings, health, loader=loader, meter=meter, tracer=tracer)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await state.open()
        runner.start()
        yield
        await runner.aclose()
        await hold.aclose()
        await capabilities.aclose()
        await reader.aclose()
        await upstream.aclose()
        await state.aclose()
        if tracing:
            await asyncio.to_thread(tracing.close)

    # The page that shows /openapi.json comes with its own scripts: a cluster may reach nothing outside.
    app = FastAPIOffline(
        docs_url=DOCS_PATH,
        redoc_url=None,
        static_url=f"{DOCS_PATH}/static",
        openapi_url=OPENAPI_PATH,
        title="Heliograph",
        lifespan=lifespan,
        redirect_slashes=False,
        # The gateway's own spans hold neither query strings nor the messages of errors.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    add_error_handlers(app)
    # Routes are looked through in this order, so what is asked for most comes first.
    app.include_router(images_router(upstream=upstream, state=state, settings=settings))
    app.include_router(health_router(health))
    app.include_router(metrics_router(metrics, state.keyring))
    app.include_router(models_router(routes=routes, capabilities=capabilities, loader=loader))
    app.include_router(admin_router(routes=routes, hold=hold, reader=reader))
    app.include_router(files_router(files=state.files, links=state.links))
    app.include_router(Videos(upstream=upstream, state=state, runner=runner, settings=settings).router())
    app.include_router(sdapi_router(upstream=upstream, state=state, capabilities=capabilities))
    app.include_router(usage_router(ledger=state.usage, routes=routes))
    if settings.playground:
        app.include_router(page_router())
    # Inside of the keys: what is not served asks for one too.
    app.add_middleware(ExactPaths)
    if settings.asks_for_keys:
        app.add_middleware(RequireKey, keyring=state.keyring)
        metrics.registry.register(KeyMetrics(state.keyring))
    else:
        app.add_middleware(OwnNames, settings=settings)
    # Outside of the keys: a browser asks beforehand without one, and reads a refusal only if its page may.
    allow_origins(app, settings.cors_origins)
    app.add_middleware(Boundary, metrics=metrics, meter=meter, tracer=tracer)
    return app
