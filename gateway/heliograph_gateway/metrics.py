"""Prometheus metrics of the gateway.

Every label comes from an ImageModel, is the name of an API key or comes from this code, never from a request: a client
cannot make new series. Those of a model or a key end with it.
"""

import asyncio
from collections.abc import Collection, Iterator

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from heliograph_api.usage import Usage
from heliograph_gateway.health import Health
from heliograph_gateway.keys.keyring import Keyring
from heliograph_gateway.load import Loads
from heliograph_gateway.names import Route
from heliograph_gateway.routing import RoutingTable

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)
_USED = {
    "images": "Pictures and clips that clients were answered with.",
    "pixels": "Pixels of them, as they were drawn.",
    "steps": "Denoising steps that they took.",
    "seconds": "Seconds that workers were at them.",
    "gpu_seconds": "The same, times the GPUs at work.",
}


class Metrics:
    """The metrics of one gateway, in a registry of its own."""

    def __init__(self, routes: RoutingTable, health: Health, loads: Loads) -> None:
        """Count requests, and read the rest from the table, the informers and the loads when asked."""
        self.registry = CollectorRegistry()
        self._routes = routes
        self._state = _State(routes, health, loads)
        self.registry.register(self._state)
        self._requests = Counter(
            "heliograph_gateway_requests",
            "Answered requests; namespace and model are empty where none was resolved, 499 is a client that left.",
            ("namespace", "model", "status"),
            registry=self.registry,
        )
        self._upstream_errors = Counter(
            "heliograph_gateway_upstream_errors",
            "Requests to a replica that failed on the way: connect, timeout, broken or misdirected.",
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

        self._request_seconds = Histogram(
            "heliograph_gateway_request_seconds",
            "Seconds from a request to the end of its answer, of those that succeeded.",
            ("namespace", "model"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._held_seconds = Histogram(
            "heliograph_gateway_held_seconds",
            "Seconds for which a request was held for a replica with room for it, of those that succeeded.",
            ("namespace", "model"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._used = {
            name: Counter(
                f"heliograph_gateway_usage_{name}",
                f"{meaning} The key is its name, empty where no key is asked for.",
                ("namespace", "model", "key"),
                registry=self.registry,
            )
            for name, meaning in _USED.items()
        }
        self._by_model: tuple[Counter | Histogram, ...] = (
            self._requests,
            self._upstream_errors,
            self._ignored_fields,
            self._wakes,
            self._request_seconds,
            self._held_seconds,
            *self._used.values(),
        )
        self._seen: set[tuple[str, str]] = set()
        """Namespace and name of the models that have series."""
        self._seen_keys: set[str] = set()
        """Names of the keys that have series."""

    async def read(self, keys: Collection[str]) -> bytes:
        """Return all metrics in Prometheus' text format, without those of models and keys that are gone.

        They are forgotten here and not when the model goes, since its last requests are still at work then. The text is
        made in a thread: of hundreds of keys and models it takes a second.

        Args:
            keys: Names of the keys that there are.
        """
        gone = {key for key in self._seen if self._routes.known_as(key) is None}
        for namespace, model in gone:
            for metric in self._by_model:
                metric.remove_by_labels({"namespace": namespace, "model": model})
        self._seen -= gone
        for name in self._seen_keys.difference(keys):
            for counter in self._used.values():
                counter.remove_by_labels({"key": name})
        self._seen_keys.intersection_update(keys)
        self._state.look()
        return await asyncio.to_thread(generate_latest, self.registry)

    def observe_request(self, route: Route, status: int, *, seconds: float, held: float) -> None:
        """Count how long a request took, and for how much of that it was held; a failure says nothing of the model."""
        if status < 400:
            self._request_seconds.labels(*self._key(route)).observe(seconds)
            self._held_seconds.labels(*self._key(route)).observe(held)

    def count_usage(self, key: str, route: Route, used: Usage) -> None:
        """Count what a request of an API key used."""
        if key:
            self._seen_keys.add(key)
        for name, counter in self._used.items():
            counter.labels(*self._key(route), key).inc(getattr(used, name))

    def count_wake(self, route: Route) -> None:
        """Count a model that was woken."""
        self._wakes.labels(*self._key(route)).inc()

    def count_ignored_fields(self, route: Route, count: int) -> None:
        """Count the fields of a request that were ignored."""
        if count:
            self._ignored_fields.labels(*self._key(route)).inc(count)

    def count_request(self, route: Route | None, status: int) -> None:
        """Count an answer; `route` is None where no model was resolved."""
        model = self._key(route) if route else ("", "")
        self._requests.labels(*model, str(status)).inc()

    def count_upstream_error(self, route: Route, reason: str) -> None:
        """Count a failed attempt at a replica: connect, timeout, broken or misdirected."""
        self._upstream_errors.labels(*self._key(route), reason).inc()

    def _key(self, route: Route) -> tuple[str, str]:
        """Return namespace and name of a model, which has series from now on."""
        self._seen.add(route.key)
        return route.key


class _State(Collector):
    def __init__(self, routes: RoutingTable, health: Health, loads: Loads) -> None:
        self._routes = routes
        self._health = health
        self._loads = loads
        self._seen: list[GaugeMetricFamily] = []

    def look(self) -> None:
        """Take in what `collect` tells, in the event loop that changes it."""
        self._seen = list(self._families())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield what was seen last, in whichever thread."""
        yield from self._seen

    def _families(self) -> Iterator[GaugeMetricFamily]:
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
            if self._routes.known_as(key):
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


def metrics_router(metrics: Metrics, keyring: Keyring) -> APIRouter:
    """Return the route of the metrics; they name the models, so they need the key like any other path."""
    router = APIRouter()

    @router.get("/metrics")
    async def read() -> Response:
        keys = keyring.names()
        return Response(await metrics.read(keys), media_type=CONTENT_TYPE_LATEST)

    return router
