"""Prometheus metrics of the gateway.

Every label comes from an ImageModel or from this code, never from a request: a client cannot make new series.
"""

from collections.abc import Iterator

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from heliograph_gateway.health import Health
from heliograph_gateway.load import Loads
from heliograph_gateway.names import Route
from heliograph_gateway.routing import RoutingTable


class Metrics:
    """The metrics of one gateway, in a registry of its own."""

    def __init__(self, routes: RoutingTable, health: Health, loads: Loads) -> None:
        """Count requests, and read the rest from the table, the informers and the loads when asked."""
        self.registry = CollectorRegistry()
        self.registry.register(_State(routes, health, loads))
        self._requests = Counter(
            "heliograph_gateway_requests",
            "Answered requests; namespace and model are empty where none was resolved, 499 is a client that left.",
            ("namespace", "model", "status"),
            registry=self.registry,
        )
        self._upstream_errors = Counter(
            "heliograph_gateway_upstream_errors",
            "Requests to a replica that failed on the way: connect, timeout or broken.",
            ("namespace", "model", "reason"),
            registry=self.registry,
        )

        self._ignored_fields = Counter(
            "heliograph_gateway_ignored_fields",
            "Fields of requests that the contract does not know.",
            ("namespace", "model"),
            registry=self.registry,
        )

        self._wakes = Counter(
            "heliograph_gateway_wakes",
            "Models that this gateway gave a replica because a request came for one that had none.",
            ("namespace", "model"),
            registry=self.registry,
        )

    def count_wake(self, route: Route) -> None:
        """Count a model that was woken."""
        self._wakes.labels(*route.key).inc()

    def count_ignored_fields(self, route: Route, count: int) -> None:
        """Count the fields of a request that were ignored."""
        if count:
            self._ignored_fields.labels(route.model.namespace, route.model.name).inc(count)

    def count_request(self, route: Route | None, status: int) -> None:
        """Count an answer; `route` is None where no model was resolved."""
        model = (route.model.namespace, route.model.name) if route else ("", "")
        self._requests.labels(*model, str(status)).inc()

    def count_upstream_error(self, route: Route, reason: str) -> None:
        """Count a failed attempt at a replica: connect, timeout or broken."""
        self._upstream_errors.labels(route.model.namespace, route.model.name, reason).inc()


class _State(Collector):
    def __init__(self, routes: RoutingTable, health: Health, loads: Loads) -> None:
        self._routes = routes
        self._health = health
        self._loads = loads

    def collect(self) -> Iterator[GaugeMetricFamily]:
        outstanding = GaugeMetricFamily(
            "heliograph_gateway_outstanding_requests",
            "Requests at work on the replicas of a model.",
            labels=("namespace", "model"),
        )
        for route, count in self._routes.outstanding():
            outstanding.add_metric((route.model.namespace, route.model.name), count)
        yield outstanding
        held = GaugeMetricFamily(
            "heliograph_gateway_held_requests",
            "Requests that wait for a model to start, or for room at one that has too much to do.",
            labels=("namespace", "model"),
        )
        for key, count in self._loads.all_held().items():
            held.add_metric(key, count)
        yield held
        age = GaugeMetricFamily(
            "heliograph_gateway_informer_age_seconds",
            "Seconds since the Kubernetes API last answered; it does so at least every 30.",
            labels=("resource",),
        )
        for source in self._health.sources:
            age.add_metric((source.name,), source.age())
        yield age


def metrics_router(metrics: Metrics) -> APIRouter:
    """Return the route of the metrics; they name the models, so they need the key like any other path."""
    router = APIRouter()

    @router.get("/metrics")
    async def read() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return router
