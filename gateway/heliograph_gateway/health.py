"""Liveness and readiness."""

from collections.abc import Sequence
from typing import Protocol

from fastapi import APIRouter

from heliograph_api.errors import APIError

LIVENESS_PATH = "/healthz"
READINESS_PATH = "/readyz"
PROBE_PATHS = frozenset({LIVENESS_PATH, READINESS_PATH})


class Source(Protocol):
    """What the routing table is fed from; an `Informer` in a cluster."""

    @property
    def name(self) -> str:
        """Return what is read."""

    @property
    def synced(self) -> bool:
        """Return whether all of it has been read once."""

    def age(self) -> float:
        """Return the seconds since it was last heard of."""


class Health:
    """Whether the gateway takes requests.

    Attributes:
        sources: What the routing table is fed from; none outside a cluster.
        draining: Whether the process is about to end.
    """

    def __init__(self, sources: Sequence[Source] = ()) -> None:
        """Take requests once every source was read once; a source that goes silent later does not count."""
        self.sources = sources
        self.draining = False

    @property
    def synced(self) -> bool:
        """Return whether every source was read once."""
        return all(source.synced for source in self.sources)

    def problem(self) -> str:
        """Return why the gateway takes no requests, or an empty string."""
        if self.draining:
            return "The gateway is shutting down."
        unread = [source.name for source in self.sources if not source.synced]
        return f"Not read yet from the Kubernetes API: {', '.join(unread)}." if unread else ""


def health_router(health: Health) -> APIRouter:
    """Return the routes of the probes; they need no key."""
    router = APIRouter()

    @router.get(LIVENESS_PATH)
    async def live() -> dict[str, str]:
        return {"status": "ok"}

    @router.get(READINESS_PATH)
    async def ready() -> dict[str, str]:
        if problem := health.problem():
            raise APIError(503, problem, code="not_ready")
        return {"status": "ok"}

    return router
