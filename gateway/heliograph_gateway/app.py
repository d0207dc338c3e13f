"""The gateway's HTTP application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from heliograph_gateway.auth import RequireKey
from heliograph_gateway.boundary import Boundary
from heliograph_gateway.errors import add_error_handlers
from heliograph_gateway.generations.router import generations_router
from heliograph_gateway.health import Health, health_router
from heliograph_gateway.metrics import Metrics, metrics_router
from heliograph_gateway.models.router import models_router
from heliograph_gateway.proxy import Upstream
from heliograph_gateway.routing import RoutingTable
from heliograph_gateway.settings import GatewaySettings


def create_app(routes: RoutingTable, settings: GatewaySettings, *, health: Health | None = None) -> FastAPI:
    """Return the application.

    Args:
        routes: The routing table, which its owner keeps up to date in the event loop that runs the application.
        settings: The settings; the models, host and port are the caller's business.
        health: What /readyz tells; ready from the start when absent.
    """
    health = health or Health()
    metrics = Metrics(routes, health)
    upstream = Upstream(routes, settings, metrics)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await upstream.aclose()

    app = FastAPI(lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    add_error_handlers(app)
    app.include_router(health_router(health))
    app.include_router(metrics_router(metrics))
    app.include_router(models_router(routes=routes))
    app.include_router(generations_router(routes=routes, upstream=upstream, max_body_bytes=settings.max_body_bytes))
    if settings.api_key:
        app.add_middleware(RequireKey, key=settings.api_key)
    app.add_middleware(Boundary, metrics=metrics)
    return app
