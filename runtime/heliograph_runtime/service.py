"""The runtime's application: what the endpoints share."""

import asyncio
from collections.abc import Sequence

from heliograph_api.defaults import generation_defaults
from heliograph_api.errors import APIError
from heliograph_api.manifest import ImageModel
from heliograph_runtime.drawings import Drawing, DrawingQueue
from heliograph_runtime.engines.protocol import Capabilities, Picture
from heliograph_runtime.metrics import Metrics
from heliograph_runtime.settings import RuntimeSettings
from heliograph_runtime.worker.supervisor import Supervisor

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
    """

    def __init__(self, model: ImageModel, settings: RuntimeSettings) -> None:
        limits = model.spec.request_limits
        self.model = model
        self.settings = settings
        self.defaults = generation_defaults(model.spec)
        self.metrics = Metrics()
        self._retry_after_seconds = limits.retry_after_seconds or _RETRY_AFTER_SECONDS
        self._drawings = DrawingQueue(
            max_requests=limits.max_concurrent or settings.max_queue, retry_after_seconds=self._retry_after_seconds
        )
        self.metrics.watch(waiting=lambda: len(self._drawings), at_work=lambda: self._drawings.requests)
        self.supervisor = Supervisor(
            model,
            models_dir=settings.models_dir,
            drawings=self._drawings,
            metrics=self.metrics,
            max_batch=settings.max_batch,
            cancel_grace_seconds=settings.cancel_grace_seconds,
        )

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

    async def draw(self, drawings: Sequence[Drawing]) -> list[Picture]:
        """Return the pictures of one request's drawings; cancelling this cancels the work at its next step.

        Raises:
            APIError: 429, 500 or 504: too many requests, a failure, or too long a wait.
        """
        with self._drawings.admitted(drawings):
            try:
                async with asyncio.timeout(self.settings.request_timeout_seconds):
                    return await asyncio.gather(*(drawing.picture for drawing in drawings))
            except TimeoutError:
                raise APIError(
                    504,
                    f"The images were not ready within {self.settings.request_timeout_seconds:g} s; ask for fewer or "
                    "smaller ones, or try when the model is less busy.",
                    code="deadline_exceeded",
                    headers={"x-should-retry": "false"},
                ) from None
