"""Prometheus metrics of the operator, in a registry of their own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """What the operator measures."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._depth = Gauge(
            "heliograph_operator_queue_depth", "ImageModels that wait to be reconciled.", registry=self._registry
        )
        self._reconciles = Histogram(
            "heliograph_operator_reconcile_seconds",
            "Seconds that one reconciliation took, by outcome: done, retry or error.",
            ["outcome"],
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=self._registry,
        )
        self._models = Gauge(
            "heliograph_operator_models",
            "ImageModels by the status of their Ready condition.",
            ["ready"],
            registry=self._registry,
        )
        self._writes = Counter(
            "heliograph_operator_writes",
            "Writes sent to the API server, by kind of object and by verb.",
            ["kind", "verb"],
            registry=self._registry,
        )
        self._resynced = Gauge(
            "heliograph_operator_last_resync_timestamp_seconds",
            "Time of the last full listing that succeeded.",
            registry=self._registry,
        )
        for outcome in ("done", "retry", "error"):
            self._reconciles.labels(outcome)
        self.models({})

    def queue_depth(self, depth: int) -> None:
        """Record the number of keys that wait."""
        self._depth.set(depth)

    def worked(self, seconds: float, outcome: str) -> None:
        """Record one reconciliation."""
        self._reconciles.labels(outcome).observe(seconds)

    def models(self, by_ready: dict[str, int]) -> None:
        """Record how many ImageModels there are by the status of their Ready condition."""
        for status in ("True", "False", "Unknown"):
            self._models.labels(status).set(by_ready.get(status, 0))

    def wrote(self, kind: str, verb: str) -> None:
        """Record a write."""
        self._writes.labels(kind, verb).inc()

    def resynced(self) -> None:
        """Record that a full listing succeeded now."""
        self._resynced.set_to_current_time()

    def text(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self._registry)
