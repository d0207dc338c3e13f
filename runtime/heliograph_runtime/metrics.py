"""Metrics of one runtime, in a registry of their own."""

from collections.abc import Callable
from http import HTTPStatus

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

CLIENT_CLOSED_REQUEST = 499
"""Status of a request whose client left before the answer; nobody receives it (a convention of nginx)."""

_OUTCOMES = {
    HTTPStatus.OK: "ok",
    HTTPStatus.TOO_MANY_REQUESTS: "busy",
    HTTPStatus.SERVICE_UNAVAILABLE: "unavailable",
    HTTPStatus.GATEWAY_TIMEOUT: "expired",
    CLIENT_CLOSED_REQUEST: "cancelled",
}
_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)


class Metrics:
    """The runtime's counters, gauges and histograms."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "heliograph_runtime_requests", "Requests for images by outcome.", ["outcome"], registry=self.registry
        )
        for outcome in (*_OUTCOMES.values(), "invalid", "failed"):
            self._requests.labels(outcome)
        self.images = Counter("heliograph_runtime_images", "Images drawn.", registry=self.registry)
        self.batch_images = Histogram(
            "heliograph_runtime_batch_images",
            "Images in one pipeline call.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )
        self.generation_seconds = Histogram(
            "heliograph_runtime_generation_seconds",
            "Seconds that one pipeline call took.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.requests_at_work = Gauge(
            "heliograph_runtime_requests_at_work", "Requests at work or waiting.", registry=self.registry
        )
        self.queue_length = Gauge(
            "heliograph_runtime_queue_length", "Images that wait to be drawn.", registry=self.registry
        )
        self.worker_busy = Gauge(
            "heliograph_runtime_worker_busy", "Whether the worker is drawing.", registry=self.registry
        )
        self.worker_ready = Gauge(
            "heliograph_runtime_worker_ready", "Whether the worker has the model loaded.", registry=self.registry
        )
        self.worker_restarts = Counter(
            "heliograph_runtime_worker_restarts", "Times that the worker was started again.", registry=self.registry
        )
        self.load_seconds = Gauge(
            "heliograph_runtime_load_seconds",
            "Seconds that the last load of the model took, the worker's start included.",
            registry=self.registry,
        )

    def count_request(self, status: int) -> None:
        """Count a request by the status of its answer."""
        by_class = "invalid" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "failed"
        self._requests.labels(_OUTCOMES.get(status, by_class)).inc()

    def watch(self, *, waiting: Callable[[], int], at_work: Callable[[], int]) -> None:
        """Read the queue's gauges from these functions from now on."""
        self.queue_length.set_function(waiting)
        self.requests_at_work.set_function(at_work)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
