"""The gateway's HTTP application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from heliograph_gateway.auth import DOCS_PATH, OPENAPI_PATH, RequireKey
from heliograph_gateway.boundary import Boundary
from heliograph_gateway.errors import add_error_handlers
from heliograph_gateway.files.router import files_router
from heliograph_gateway.health import Health, health_router
from heliograph_gateway.holding import Hold, Waker
from heliograph_gateway.images.router import images_router
from heliograph_gateway.load import Loads
from heliograph_gateway.metrics import Metrics, metrics_router
from heliograph_gateway.models.router import models_router
from heliograph_gateway.proxy import Upstream
from heliograph_gateway.routing import RoutingTable
from heliograph_gateway.sdapi.router import sdapi_router
from heliograph_gateway.settings import GatewaySettings
from heliograph_gateway.state import State
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
            application ends. When absent, no request is held.
    """
    health = health or Health()
    state = state or State(settings)
    loads = loads or Loads()
    metrics = Metrics(routes, health, loads)
    hold = Hold(routes, settings, metrics, loads=loads, waker=waker) if waker else None
    upstream = Upstream(routes, settings, metrics, loads=loads, hold=hold)
    runner = VideoRunner(upstream, state, settings, health)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await state.open()
        runner.start()
        yield
        await runner.aclose()
        if hold:
            await hold.aclose()
        await upstream.aclose()
        await state.aclose()

    # The page that shows /openapi.json comes with its own scripts: a cluster may reach nothing outside.
    app = FastAPIOffline(
        docs_url=DOCS_PATH,
        redoc_url=None,
        static_url=f"{DOCS_PATH}/static",
        openapi_url=OPENAPI_PATH,
        title="Heliograph",
        lifespan=lifespan,
        redirect_slashes=False,
    )
    add_error_handlers(app)
    app.include_router(health_router(health))
    app.include_router(metrics_router(metrics))
    app.include_router(models_router(routes=routes))
    app.include_router(files_router(files=state.files, links=state.links))
    app.include_router(images_router(upstream=upstream, state=state, settings=settings))
    app.include_router(Videos(upstream=upstream, state=state, runner=runner, settings=settings).router())
    app.include_router(sdapi_router(upstream=upstream, state=state, settings=settings))
    if settings.api_key:
        app.add_middleware(RequireKey, key=settings.api_key)
    app.add_middleware(Boundary, metrics=metrics)
    return app
