"""The routing table: which model takes a request, and which replica of it.

The table lives in memory and in one event loop. An informer feeds it in a cluster, `heliograph serve` on one machine.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from heliograph_api.errors import APIError, model_not_found
from heliograph_api.manifest import ImageModel
from heliograph_gateway.names import ListedModel, NameIndex, Route

_RETRY_AFTER = 10
_MOST_NAMED = 100


@dataclass(frozen=True)
class Endpoint:
    """Address of one replica of a runtime that takes requests.

    Attributes:
        host: IPv4 or IPv6 address.
        port: TCP port.
    """

    host: str
    port: int

    @property
    def url(self) -> str:
        """Return the base URL, without a slash at its end."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"


@dataclass
class _Load:
    ready: bool = False
    outstanding: int = 0
    last_turn: int = 0


class RoutingTable:
    """Models by name (see `NameIndex`), their endpoints, and the requests at work on each."""

    def __init__(self, *, default_model: str | None = None) -> None:
        """Make an empty table.

        Args:
            default_model: Name of the model for requests that name none.
        """
        self._default_model = default_model
        self._routes: dict[tuple[str, str], Route] = {}
        self._loads: dict[tuple[str, str], dict[Endpoint, _Load]] = {}
        self._names: NameIndex | None = None
        self._turn = 0
        self._changes: dict[tuple[str, str], asyncio.Event] = {}

    def set_model(self, model: ImageModel, *, created: int = 0, not_ready: str = "") -> None:
        """Add a model, or replace what is known of it.

        Args:
            model: The ImageModel; with `spec.alias` it leads to another model.
            created: When it was created, in Unix seconds; the older of two models owns a name that both claim.
            not_ready: Why it cannot answer yet, for people.
        """
        route = self._routes[model.namespace, model.name] = Route(model, created, not_ready)
        self._names = None
        self._tell(route.service)

    def remove_model(self, namespace: str, name: str) -> None:
        """Forget a model; requests at work are not disturbed."""
        route = self._routes.pop((namespace, name), None)
        self._names = None
        if route:
            self._tell(route.service)

    def set_endpoints(self, namespace: str, service: str, endpoints: Iterable[Endpoint]) -> None:
        """Set all the endpoints of a Service that take requests: ready ones that are not terminating."""
        ready = dict.fromkeys(endpoints)
        loads = self._loads.setdefault((namespace, service), {})
        for endpoint in ready:
            loads.setdefault(endpoint, _Load())
        for endpoint, load in list(loads.items()):
            load.ready = endpoint in ready
            self._forget_if_idle((namespace, service), endpoint)
        if not loads:
            self._loads.pop((namespace, service), None)
        self._tell((namespace, service))

    def resolve(self, requested: str | None) -> Route:
        """Return the route for a requested name; for None the default model's, else the first by name that is ready.

        Raises:
            APIError: 404 `model_not_found`, listing the models there are, or 403 `model_disabled`.
        """
        name = self._default_model if requested is None else requested
        if name is None:
            return self._first()
        route = self._index().get(name)
        return self._enabled(route, name)

    def current(self, route: Route) -> Route:
        """Return a route as it is by now.

        Raises:
            APIError: 404 or 403 as `resolve` raises them: the model was deleted or disabled since.
        """
        return self._enabled(self._routes.get(route.key), route.model.model_id)

    def is_ready(self, route: Route, *, exclude: Collection[Endpoint] = ()) -> bool:
        """Return whether `pick` has an endpoint to choose."""
        loads = self._loads.get(route.service, {})
        return any(load.ready and endpoint not in exclude for endpoint, load in loads.items())

    def ready(self, route: Route) -> set[Endpoint]:
        """Return the endpoints that take requests."""
        return {endpoint for endpoint, load in self._loads.get(route.service, {}).items() if load.ready}

    def change(self, route: Route) -> asyncio.Event:
        """Return what is set at the next change of a model or of its endpoints."""
        return self._changes.setdefault(route.service, asyncio.Event())

    def listed(self) -> list[ListedModel]:
        """Return every model that may be asked for, by id."""
        return self._index().listed()

    @contextmanager
    def pick(self, route: Route, *, exclude: Collection[Endpoint] = ()) -> Iterator[Endpoint]:
        """Hold the endpoint with the fewest outstanding requests; the one that waited longest among equals.

        Args:
            route: The model.
            exclude: Endpoints that were tried in vain.

        Raises:
            APIError: 503 `model_not_ready` when no endpoint is left, with a Retry-After that OpenAI's clients honour.
        """
        loads = self._loads.get(route.service, {})
        candidates = [endpoint for endpoint, load in loads.items() if load.ready and endpoint not in exclude]
        if not candidates:
            raise not_ready(route)
        chosen = min(candidates, key=lambda endpoint: (loads[endpoint].outstanding, loads[endpoint].last_turn))
        load = loads[chosen]
        self._turn += 1
        load.last_turn = self._turn
        load.outstanding += 1
        try:
            yield chosen
        finally:
            load.outstanding -= 1
            self._forget_if_idle(route.service, chosen)

    def outstanding(self) -> Iterator[tuple[Route, int]]:
        """Yield each model that has replicas, and the number of requests that are at work on them."""
        for route in self._routes.values():
            if loads := self._loads.get(route.service):
                yield route, sum(load.outstanding for load in loads.values())

    def _forget_if_idle(self, service: tuple[str, str], endpoint: Endpoint) -> None:
        """Drop an endpoint that takes no more requests once the last one on it is done."""
        loads = self._loads[service]
        if not loads[endpoint].ready and not loads[endpoint].outstanding:
            del loads[endpoint]
            if not loads:
                del self._loads[service]

    def _first(self) -> Route:
        routes = [route for route in self._index().models if not route.disabled]
        if not routes:
            raise APIError(
                404,
                "No model was named, and there is none to choose: create an ImageModel first.",
                param="model",
                code="model_not_found",
            )
        return min(routes, key=lambda route: (not self.is_ready(route), route.model.model_id, route.qualified_name))

    def _enabled(self, route: Route | None, name: str) -> Route:
        if route is None:
            raise model_not_found(name, self._some_ids())
        if route.disabled:
            raise APIError(403, f"The model '{name}' is disabled.", param="model", code="model_disabled")
        return route

    def _tell(self, service: tuple[str, str]) -> None:
        if changed := self._changes.pop(service, None):
            changed.set()

    def _some_ids(self) -> list[str]:
        ids = [entry.id for entry in self.listed()]
        more = len(ids) - _MOST_NAMED
        return [*ids[:_MOST_NAMED], f"and {more} more"] if more > 0 else ids

    def _index(self) -> NameIndex:
        """Return the index of names, which is made anew when one is asked for after a change."""
        if self._names is None:
            self._names = NameIndex(self._routes.values())
        return self._names


def not_ready(route: Route, *, since: str = "") -> APIError:
    """Return the 503 for a model of which no replica takes requests, with a Retry-After that OpenAI's clients honour.

    Args:
        route: The model.
        since: How long it was waited for, to be put after `not ready`.
    """
    return APIError(
        503,
        f"The model '{route.model.model_id}' is not ready{since}: {_reason(route)}",
        param="model",
        code="model_not_ready",
        headers=retry_after(route),
    )


def retry_after(route: Route) -> dict[str, str]:
    """Return the header that says when to ask a model again."""
    return {"Retry-After": str(route.model.spec.request_limits.retry_after_seconds or _RETRY_AFTER)}


def _reason(route: Route) -> str:
    if route.not_ready:
        return route.not_ready
    if not route.replicas and not route.scaling:
        return "it has no replicas, and without spec.serving.scaling no request wakes it; set spec.serving.replicas."
    return "none of its replicas takes requests."
