"""Counting what a request used, in the metrics and in the record."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from heliograph_api.usage import Usage
from heliograph_gateway.metrics import Metrics
from heliograph_gateway.names import Route
from heliograph_gateway.usage.ledger import Ledger


class LedgerMetrics(Collector):
    """Tells of requests that the record lacks."""

    def __init__(self, ledger: Ledger) -> None:
        """Tell of `ledger`."""
        self._ledger = ledger

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Yield the metric."""
        lost = CounterMetricFamily(
            "heliograph_gateway_usage_unrecorded_requests",
            "Requests whose usage was not recorded, since the database was away for too long.",
        )
        lost.add_metric((), self._ledger.lost)
        yield lost


class Meter:
    """Counts what clients were answered with; what came to nothing costs nobody anything."""

    def __init__(self, metrics: Metrics, ledger: Ledger) -> None:
        """Count in both."""
        self._metrics = metrics
        self._ledger = ledger
        metrics.registry.register(LedgerMetrics(ledger))

    def count(self, key: str, route: Route, used: Usage) -> None:
        """Count one request.

        Args:
            key: Name of the API key that it carried; empty for none.
            route: The model.
            used: What it used.
        """
        self._metrics.count_usage(key, route, used)
        self._ledger.add(key, route.key, used)
