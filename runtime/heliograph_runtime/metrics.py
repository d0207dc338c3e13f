"""Metrics of one runtime, in a registry of their own."""

from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from heliograph_runtime.engines.protocol import Mode, Picture

CLIENT_CLOSED_REQUEST = 499
"""Status of a request whose client left before the answer; nobody receives it (a convention of nginx)."""

_NAMESPACE = "heliograph_runtime"
_OUTCOMES = {
    HTTPStatus.OK: "ok",
    HTTPStatus.TOO_MANY_REQUESTS: "busy",
    HTTPStatus.SERVICE_UNAVAILABLE: "unavailable",
    HTTPStatus.GATEWAY_TIMEOUT: "expired",
    CLIENT_CLOSED_REQUEST: "cancelled",
}
BatchOutcome = Literal["drawn", "cancelled", "refused", "error", "out_of_memory", "device_lost", "crashed"]
"""How a pipeline call ends; `crashed` if the worker does."""

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)


class Metrics:
    """The runtime's counters, gauges and histograms."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, namespace=_NAMESPACE, registry=self.registry)
        gauge = partial(Gauge, namespace=_NAMESPACE, registry=self.registry)
        histogram = partial(Histogram, namespace=_NAMESPACE, registry=self.registry)

        self._requests = counter("requests", "Requests for images by outcome.", ["outcome"])
        for outcome in (*_OUTCOMES.values(), "invalid", "failed"):
            self._requests.labels(outcome)
        self._ignored_keys = counter("ignored_keys", "Keys of requests that mean nothing here.")
        self.requests_at_work = gauge("requests_at_work", "Requests at work or waiting.")
        self.queue_length = gauge("queue_length", "Images that wait to be drawn.")

        self._images = counter("images", "Images and clips drawn.")
        self._frames = counter("frames", "Frames drawn; an image is one.")
        self._pixels = counter("pixels", "Pixels of the images and frames drawn.")
        self._work_seconds = counter(
            "work_seconds", "Seconds of pipeline calls, those that came to nothing among them."
        )
        self._gpu_seconds = counter("gpu_seconds", "The same, times the GPUs that the model is on; 0 without any.")
        self._steps = counter("steps", "Inference steps done, each for a whole batch.")
        self.previews = counter("previews", "Unfinished images made for clients that watch.")
        self._batches = counter("batches", "Pipeline calls by outcome.", ["outcome"])
        for batch_outcome in get_args(BatchOutcome):
            self._batches.labels(batch_outcome)
        self.batch_images = histogram("batch_images", "Images in one pipeline call.", buckets=(1, 2, 4, 8, 16, 32, 64))
        self._generation_seconds = histogram(
            "generation_seconds", "Seconds that one pipeline call took.", ["mode"], buckets=_SECONDS
        )

        self.worker_busy = gauge("worker_busy", "Whether the worker is drawing.")
        self.worker_ready = gauge("worker_ready", "Whether the worker has the model loaded.")
        self.worker_restarts = counter("worker_restarts", "Times that the worker was started again.")
        self.load_seconds = gauge(
            "load_seconds", "Seconds that the last load of the model took, the worker's start included."
        )

    def count_request(self, status: int) -> None:
        """Count a request by the status of its answer."""
        by_class = "invalid" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "failed"
        self._requests.labels(_OUTCOMES.get(status, by_class)).inc()

    def count_ignored_keys(self, count: int) -> None:
        """Count keys of a request that were ignored, which have no names here: clients may send any."""
        self._ignored_keys.inc(count)

    def count_batch(self, outcome: BatchOutcome, *, steps: int = 0) -> None:
        """Count a pipeline call that ended so, after so many steps."""
        self._batches.labels(outcome).inc()
        self._steps.inc(steps)

    def count_work(self, seconds: float, *, gpus: int) -> None:
        """Count the time of a pipeline call, however it ended, and the number of GPUs that it held."""
        self._work_seconds.inc(seconds)
        self._gpu_seconds.inc(seconds * gpus)

    def count_pictures(self, pictures: Sequence[Picture], *, mode: Mode, seconds: float) -> None:
        """Count what one pipeline call drew in this time."""
        self._images.inc(len(pictures))
        self._frames.inc(sum(picture.frames for picture in pictures))
        self._pixels.inc(sum(picture.area for picture in pictures))
        self._generation_seconds.labels(mode).observe(seconds)

    def watch(self, *, waiting: Callable[[], int], at_work: Callable[[], int]) -> None:
        """Read the queue's gauges from these functions from now on."""
        self.queue_length.set_function(waiting)
        self.requests_at_work.set_function(at_work)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
