"""Probes and metrics; none of them waits for anything."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from heliograph_api.errors import APIError
from heliograph_runtime.service import Service


def health_router(service: Service) -> APIRouter:
    """Return the router of `/healthz`, `/readyz` and `/metrics`."""
    router = APIRouter()

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/readyz")
    async def readyz() -> dict[str, str]:
        if service.supervisor.unready:
            raise APIError(503, service.supervisor.unready, code="not_ready")
        return {"status": "ok"}

    @router.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return router
