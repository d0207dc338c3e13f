"""The runtime's application: what the endpoints share."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from heliograph_api.defaults import generation_defaults
from heliograph_api.errors import APIError
from heliograph_api.manifest import ImageModel
from heliograph_runtime.drawings import Drawing, DrawingQueue
from heliograph_runtime.engines.protocol import Capabilities
from heliograph_runtime.events import EventStream
from heliograph_runtime.metrics import Metrics
from heliograph_runtime.settings import RuntimeSettings
from heliograph_runtime.worker.supervisor import Supervisor

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

_RETRY_AFTER_SECONDS = 5
"""Named in Retry-After where the model's limits say nothing."""


class Service:
    """One model with its queue, its worker and its metrics.

    Attributes:
        model: The ImageModel.
        settings: Settings of the runtime.
        defaults: What applies where a request is silent.
        metrics: The runtime's metrics.
        supervisor: Keeper of the worker.
        most_requests: Most requests at work or waiting; more are refused.
        tracer: What makes spans of requests; None for none.
    """

    def __init__(self, model: ImageModel, settings: RuntimeSettings, *, tracer: "Tracer | None" = None) -> None:
        limits = model.spec.request_limits
        self.model = model
        self.settings = settings
        self.tracer = tracer
        self.defaults = generation_defaults(model.spec)
        self.metrics = Metrics()
        self._retry_after_seconds = limits.retry_after_seconds or _RETRY_AFTER_SECONDS
        self.most_requests = limits.max_concurrent or settings.max_queue
        self._drawings = DrawingQueue(max_requests=self.most_requests, retry_after_seconds=self._retry_after_seconds)
        self.metrics.watch(waiting=lambda: self.queue, at_work=lambda: self.requests)
        self.supervisor = Supervisor(
            model,
            drawings=self._drawings,
            metrics=self.metrics,
            settings=settings,
            retry_after_seconds=self._retry_after_seconds,
        )
        self._supervision: asyncio.Task[None] | None = None

    def supervise(self) -> asyncio.Task[None]:
        """Keep a worker running in the running event loop; return the task that does, the same one each time."""
        if self._supervision is None:
            self._supervision = asyncio.create_task(self.supervisor.run())
        return self._supervision

    @property
    def family_sampler(self) -> bool:
        """Return whether a sampler that nothing names is the family's rather than the one in the model's files."""
        return self.model.spec.serving.compat == "gpustack"

    @property
    def requests(self) -> int:
        """Return the number of requests at work or waiting."""
        return self._drawings.requests

    @property
    def queue(self) -> int:
        """Return the number of pictures that wait to be drawn."""
        return len(self._drawings)

    @property
    def capabilities(self) -> Capabilities:
        """Return what the model can do; raise `APIError` (503) before it has been loaded for the first time."""
        if self.supervisor.capabilities is None:
            raise APIError(
                503,
                f"{self.supervisor.unready} Try again in {self._retry_after_seconds} s.",
                code="model_loading",
                headers={"Retry-After": str(self._retry_after_seconds)},
            )
        return self.supervisor.capabilities

    @contextmanager
    def draw_events(self, drawings: Sequence[Drawing]) -> Iterator[EventStream]:
        """Have one request's drawings drawn and watch it; leaving the block cancels what is left at its next step.

        Raises:
            APIError: 429 on entering, for too many requests; 500, 503 or 504 out of the stream, for a failure, too
                little memory or too long a wait.
        """
        events = EventStream(drawings)
        with self._drawings.admitted(drawings, timeout_seconds=self.settings.request_timeout_seconds):
            yield events
