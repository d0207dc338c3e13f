"""The routing table: which model takes a request, and which replica of it.

The table lives in memory and in one event loop. An informer feeds it in a cluster, `heliograph serve` on one machine.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from zlib import crc32

from heliograph_api.errors import APIError, model_not_found
from heliograph_api.manifest import ImageModel
from heliograph_gateway.keys.caller import ANONYMOUS, Caller
from heliograph_gateway.models.observed import NOTHING, Observed
from heliograph_gateway.names import ListedModel, NameIndex, Route
from heliograph_gateway.places import Places

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
    places: Places = field(default_factory=Places)


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

    def set_model(
        self, model: ImageModel, *, created: int = 0, not_ready: str = "", observed: Observed = NOTHING
    ) -> None:
        """Add a model, or replace what is known of it.

        Args:
            model: The ImageModel; with `spec.alias` it leads to another model.
            created: When it was created, in Unix seconds; the older of two models owns a name that both claim.
            not_ready: Why it cannot answer yet, for people.
            observed: What is told of its state beside that.
        """
        route = Route(model, created, not_ready, observed)
        former = self._routes.get(route.key)
        self._routes[route.key] = route
        # A status changes often, and to index the names of many models takes long.
        if former is None or former.claims != route.claims:
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

    def resolve(self, requested: str | None, caller: Caller = ANONYMOUS) -> Route:
        """Return the route for a requested name; for None the default model's, else the first by name that is ready.

        Args:
            requested: The name.
            caller: Who asks: what their key is not for does not exist for them.

        Raises:
            APIError: 404 `model_not_found`, listing the models that the caller may ask for, or 403 `model_disabled`.
        """
        name = self._default_model if requested is None else requested
        if name is None:
            return self._first(caller)
        index = self._index()
        found = index.get(name)
        if found and not index.is_for(caller, name, found):
            if requested is None:
                return self._first(caller)
            found = None
        if found is None:
            raise model_not_found(name, self._some_ids(caller))
        return _enabled(self._routes[found.key], name)

    def name_of(self, route: Route) -> str:
        """Return a name that leads to a model, its public id if that does."""
        return self._index().name_of(route)

    def current(self, route: Route) -> Route:
        """Return a route as it is by now.

        Raises:
            APIError: 404 or 403 as `resolve` raises them: the model was deleted or disabled since.
        """
        name, now = route.model.model_id, self._routes.get(route.key)
        if now is None:
            raise APIError(
                404,
                f"The model '{name}' was deleted while the request waited for it.",
                param="model",
                code="model_not_found",
            )
        return _enabled(now, name)

    def is_ready(self, route: Route, *, exclude: Collection[Endpoint] = ()) -> bool:
        """Return whether any endpoint takes requests, those in `exclude` aside; it need not have room for one now."""
        loads = self._loads.get(route.service, {})
        return any(load.ready and endpoint not in exclude for endpoint, load in loads.items())

    def ready(self, route: Route) -> set[Endpoint]:
        """Return the endpoints that take requests."""
        return {endpoint for endpoint, load in self._loads.get(route.service, {}).items() if load.ready}

    def change(self, route: Route) -> asyncio.Event:
        """Return what is set at the next change of a model or of its endpoints."""
        return self._changes.setdefault(route.service, asyncio.Event())

    def listed(self, caller: Caller = ANONYMOUS) -> list[ListedModel]:
        """Return every model that a caller may ask for, by id."""
        index = self._index()
        return [
            entry
            for entry in index.listed()
            if (target := index.get(entry.id)) and index.is_for(caller, entry.id, target)
        ]

    def known(self) -> list[Route]:
        """Return all models, disabled ones and aliases among them, from the oldest to the youngest."""
        return [self._routes[key] for key in self._index().keys]

    def known_as(self, key: tuple[str, str]) -> Route | None:
        """Return the model of a namespace and a name, disabled or not, if there is one."""
        return self._routes.get(key)

    def find(
        self,
        route: Route,
        *,
        exclude: Collection[Endpoint] = (),
        owner: str = "",
        has_room: Callable[[Places, int], bool] | None = None,
    ) -> Endpoint | None:
        """Return the endpoint with the fewest outstanding requests, if there is any to choose.

        Among equals it is always the same one for an owner, as long as the endpoints stay, which then has what the
        owner's last request left there, such as LoRA adapters (rendezvous hashing); for nobody in particular, it is the
        one that waited longest.

        Args:
            route: The model.
            exclude: Endpoints that were tried in vain.
            owner: Whose request it is; empty for nobody's in particular.
            has_room: Asked of an endpoint's places and outstanding requests whether it can be chosen.
        """
        free = [
            (endpoint, load)
            for endpoint, load in self._loads.get(route.service, {}).items()
            if load.ready and endpoint not in exclude and (has_room is None or has_room(load.places, load.outstanding))
        ]
        if len(free) < 2:
            return free[0][0] if free else None
        if owner:
            return min(free, key=lambda it: (it[1].outstanding, crc32(f"{owner} {it[0].url}".encode())))[0]
        return min(free, key=lambda it: (it[1].outstanding, it[1].last_turn))[0]

    def take(self, route: Route, endpoint: Endpoint) -> Callable[[], None]:
        """Count a request as outstanding at an endpoint until what is returned is called."""
        load = self._loads[route.service][endpoint]
        self._turn += 1
        load.last_turn = self._turn
        load.outstanding += 1
        return partial(self._give_back, route.service, endpoint)

    def at(self, route: Route, endpoint: Endpoint) -> tuple[Places, int] | None:
        """Return the places at an endpoint and the number of its outstanding requests; None for one that is gone."""
        load = self._loads.get(route.service, {}).get(endpoint)
        return (load.places, load.outstanding) if load else None

    def places(self, route: Route) -> list[tuple[Endpoint, Places, int]]:
        """Return the endpoints that take requests, each with its places and its outstanding requests."""
        loads = self._loads.get(route.service, {})
        return [(endpoint, load.places, load.outstanding) for endpoint, load in loads.items() if load.ready]

    def replicas(self, route: Route) -> list[tuple[Endpoint, bool, int]]:
        """Return every endpoint, whether it takes requests, and its outstanding ones, which it may only finish."""
        loads = self._loads.get(route.service, {})
        return [(endpoint, load.ready, load.outstanding) for endpoint, load in loads.items()]

    def outstanding(self) -> Iterator[tuple[Route, int]]:
        """Yield each model that has replicas, and the number of requests that are at work on them."""
        for route in self._routes.values():
            if loads := self._loads.get(route.service):
                yield route, sum(load.outstanding for load in loads.values())

    def _give_back(self, service: tuple[str, str], endpoint: Endpoint) -> None:
        self._loads[service][endpoint].outstanding -= 1
        self._forget_if_idle(service, endpoint)

    def _forget_if_idle(self, service: tuple[str, str], endpoint: Endpoint) -> None:
        """Drop an endpoint that takes no more requests once the last one on it is done."""
        loads = self._loads[service]
        if not loads[endpoint].ready and not loads[endpoint].outstanding:
            del loads[endpoint]
            if not loads:
                del self._loads[service]

    def _first(self, caller: Caller) -> Route:
        models = [self._routes[route.key] for route in self._index().models]
        routes = [
            route
            for route in models
            if not route.disabled and self._index().is_for(caller, route.qualified_name, route)
        ]
        if not routes:
            raise APIError(
                404,
                "No model was named, and there is none to choose: create an ImageModel first.",
                param="model",
                code="model_not_found",
            )
        return min(routes, key=lambda route: (not self.is_ready(route), route.model.model_id, route.qualified_name))

    def _tell(self, service: tuple[str, str]) -> None:
        if changed := self._changes.pop(service, None):
            changed.set()

    def _some_ids(self, caller: Caller) -> list[str]:
        ids = [entry.id for entry in self.listed(caller)]
        more = len(ids) - _MOST_NAMED
        return [*ids[:_MOST_NAMED], f"and {more} more"] if more > 0 else ids

    def _index(self) -> NameIndex:
        """Return the index of names, which is made anew when one is asked for after a change."""
        if self._names is None:
            self._names = NameIndex(self._routes.values())
        return self._names


def _enabled(route: Route, name: str) -> Route:
    if route.disabled:
        raise APIError(403, f"The model '{name}' is disabled.", param="model", code="model_disabled")
    return route
