"""Prometheus metrics of the operator, in a registry of their own.

Labels come from this code, from the API server's statuses and from ImageModels, never from pods or requests.
"""

from collections import Counter as Tally
from collections.abc import Iterable, Mapping
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from heliograph_operator.inventory import Key

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """What the operator measures."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._work()
        self._api()
        self._state()

    def _work(self) -> None:
        self._depth = self._gauge("queue_depth", "ImageModels that wait to be reconciled.")
        self._adds = self._counter("queue_adds", "Times that an ImageModel was to be reconciled.")
        self._waits = self._histogram("queue_wait_seconds", "Seconds that an ImageModel waited to be reconciled.")
        self._reconciles = self._histogram(
            "reconcile_seconds", "Seconds that one reconciliation took, by outcome: done, retry or error.", "outcome"
        )
        for outcome in ("done", "retry", "error"):
            self._reconciles.labels(outcome)
        self._errors = self._counter("errors", "Errors by which a reconciliation failed, by kind.", "kind")
        self._resynced = self._gauge(
            "last_resync_timestamp_seconds", "Time of the last full listing that succeeded, in seconds since 1970."
        )

    def _api(self) -> None:
        self._writes = self._counter(
            "writes", "Writes sent to the API server, by kind of object and by verb.", "kind", "verb"
        )
        self._requests = self._counter(
            "api_requests", "Requests to the API server by method and status, 0 without an answer.", "method", "status"
        )
        self._handovers = self._counter("handovers", "Times that an idle model gave its GPU to another.")
        self._latency = self._histogram(
            "api_request_seconds", "Seconds that requests to the API server took, by method.", "method"
        )

    def _state(self) -> None:
        self._models = self._gauge("models", "ImageModels by the status of their Ready condition.", "ready")
        self._ready = self._gauge(
            "model_ready", "1 for an ImageModel that is ready, else 0, with the reason.", "namespace", "model", "reason"
        )
        self._conditions = self._gauge(
            "conditions", "ImageModels by type, status and reason of a condition.", "type", "status", "reason"
        )
        self.models(())
        self._leader = self._gauge("leader", "1 for a replica that works, 0 for one that waits for the Lease.")
        self._gauge("build_info", "The operator's version.", "version").labels(version("heliograph")).set(1)

    def queue_added(self) -> None:
        """Record that a key was added to the queue."""
        self._adds.inc()

    def queue_depth(self, depth: int) -> None:
        """Record the number of keys that wait."""
        self._depth.set(depth)

    def queue_waited(self, seconds: float) -> None:
        """Record how long a key waited."""
        self._waits.observe(seconds)

    def worked(self, seconds: float, outcome: str) -> None:
        """Record one reconciliation."""
        self._reconciles.labels(outcome).observe(seconds)

    def failed(self, error: BaseException) -> None:
        """Record an error by which a reconciliation failed, by its class."""
        self._errors.labels(type(error).__name__).inc()

    def wrote(self, kind: str, verb: str) -> None:
        """Record a write."""
        self._writes.labels(kind, verb).inc()

    def handed_over(self) -> None:
        """Record that an idle model gives its GPU to another."""
        self._handovers.inc()

    def requested(self, method: str, status: int, seconds: float) -> None:
        """Record a request to the API server; `status` is 0 when there was no answer."""
        self._requests.labels(method, str(status)).inc()
        self._latency.labels(method).observe(seconds)

    def resynced(self) -> None:
        """Record that a full listing succeeded now."""
        self._resynced.set_to_current_time()

    def leads(self) -> None:
        """Record that this replica works from now on."""
        self._leader.set(1)

    def models(self, known: Iterable[tuple[Key, Mapping[str, tuple[str, str]]]]) -> None:
        """Record the ImageModels that there are.

        Args:
            known: Each one's key, and status and reason of its conditions by type.
        """
        for gauge in (self._models, self._ready, self._conditions):
            gauge.clear()
        tally: Tally[tuple[str, str, str]] = Tally()
        by_ready = Tally({"True": 0, "False": 0, "Unknown": 0})
        for key, conditions in known:
            status, reason = conditions.get("Ready", ("Unknown", "Unknown"))
            by_ready[status] += 1
            self._ready.labels(key.namespace, key.name, reason).set(status == "True")
            tally.update((kind, *verdict) for kind, verdict in conditions.items())
        for status, count in by_ready.items():
            self._models.labels(status).set(count)
        for condition, count in tally.items():
            self._conditions.labels(*condition).set(count)

    def text(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"heliograph_operator_{name}", meaning, labels, registry=self.registry)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"heliograph_operator_{name}", meaning, labels, registry=self.registry)

    def _histogram(self, name: str, meaning: str, *labels: str) -> Histogram:
        return Histogram(f"heliograph_operator_{name}", meaning, labels, buckets=_SECONDS, registry=self.registry)
