"""Which model a name stands for."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from heliograph_api import naming
from heliograph_api.manifest import ImageModel
from heliograph_api.serving import Scaling
from heliograph_api.targets import target_of
from heliograph_gateway.keys.caller import Caller
from heliograph_gateway.models.observed import NOTHING, Observed


@dataclass(frozen=True)
class Route:
    """An ImageModel that requests may ask for.

    Attributes:
        model: The ImageModel; with `spec.alias` it leads to another one.
        created: When it was created, in Unix seconds.
        not_ready: Why it cannot answer yet, for people; empty when that is not known.
        observed: What is told of its state beside that.
    """

    model: ImageModel
    created: int = 0
    not_ready: str = ""
    observed: Observed = NOTHING

    @property
    def service(self) -> tuple[str, str]:
        """Return namespace and name of the Service in front of the replicas."""
        return self.model.namespace, naming.child_name(self.model.name)

    @property
    def target(self) -> str:
        """Return what a replica is told that a request is for."""
        return target_of(self.model.namespace, self.model.name)

    @property
    def qualified_name(self) -> str:
        """Return `namespace/name`."""
        return f"{self.model.namespace}/{self.model.name}"

    @property
    def key(self) -> tuple[str, str]:
        """Return namespace and name of the ImageModel."""
        return self.model.namespace, self.model.name

    @property
    def scaling(self) -> Scaling | None:
        """Return how the model is scaled by itself; None where people alone decide on its size."""
        return self.model.spec.serving.scaling

    @property
    def replicas(self) -> int:
        """Return how many replicas are wanted."""
        return self.model.spec.serving.replicas

    @property
    def disabled(self) -> bool:
        """Return whether requests are answered with 403."""
        return bool(self.model.spec.disabled)

    @property
    def claims(self) -> tuple[object, ...]:
        """Return all that decides on names: while it stays the same, every name leads where it led."""
        return self.key, self.created, self.model.model_id, self.model.spec.alias, self.disabled, *_aliases(self)


@dataclass(frozen=True)
class ListedModel:
    """An entry of the list of models.

    Attributes:
        id: A name that reaches the model.
        created: When its ImageModel was created, in Unix seconds.
        owner: Namespace of the ImageModel; empty outside a cluster.
        leads_to: Namespace and name of the ImageModel that answers, which is another one for an alias.
    """

    id: str
    created: int
    owner: str
    leads_to: tuple[str, str]


class _Claim(NamedTuple):
    """A name, the ImageModel that claims it, and the one that it would lead to."""

    name: str
    claimant: Route
    target: Route


class NameIndex:
    """Every name with the route that it leads to.

    `namespace/name` comes first, and nobody of another namespace is called so. Any other name belongs to the namespace
    of the oldest that claims it, so that nobody takes over a name that is in use; within it public ids come first, then
    `metadata.name`, then aliases, and among those the oldest.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        """Index the routes of one moment."""
        by_age = sorted(routes, key=_age)
        self.keys = [route.key for route in by_age]
        """Namespaces and names of all routes, from the oldest to the youngest."""
        self.models = [route for route in by_age if not route.model.spec.alias]
        """The routes that lead to no other, from the oldest to the youngest."""
        self._namespaces = {route.model.namespace for route in by_age}
        self._local: dict[tuple[str, str], Route] = {}
        claims = list(self._claims_of_models())
        self._names = _granted(claims) | _qualified((route, route) for route in self.models)
        targets = [(route, self._target(route)) for route in by_age]
        self._targets = [(route, target) for route, target in targets if target]
        self._names = _granted([*claims, *self._claims_of_aliases()]) | _qualified(self._targets)

    def get(self, name: str) -> Route | None:
        """Return the model that a name leads to, or None."""
        return self._names.get(name)

    def is_for(self, caller: Caller, name: str, target: Route) -> bool:
        """Return whether a caller's key is for the model that a name leads to.

        What counts is the `namespace/name` of that model and the plain names that lead to it, the one asked for among
        them. The `namespace/name` of an alias does not: whoever may write into one namespace could open others by it.
        """
        if not caller.models:
            return True
        own = (target.model.model_id, target.model.name, *_aliases(target))
        names = [found for found in (*own, name) if self._leads_plainly(found, target)]
        return caller.may_use([target.qualified_name, *names])

    def _leads_plainly(self, name: str, target: Route) -> bool:
        return self._leads_to(name, target) and not self._names_a_namespace(name)

    def _leads_to(self, name: str, target: Route) -> bool:
        found = self._names.get(name)
        return found is not None and found.key == target.key

    def name_of(self, target: Route) -> str:
        """Return what a model is called: its public id, unless that leads to another one, else another of its names."""
        own_names = (target.model.model_id, target.model.name)
        return next((name for name in own_names if self._leads_to(name, target)), target.qualified_name)

    def listed(self) -> list[ListedModel]:
        """Return public ids, alias models and aliases by id; a disabled model has none.

        A model whose public id belongs to another one is listed under the first of its names that reaches it.
        """
        entries: dict[str, ListedModel] = {}
        for route, target in self._targets:
            if target.disabled:
                continue
            own_names = (route.model.model_id, route.model.name, route.qualified_name)
            main = [name for name in own_names if self._names.get(name) is target]
            aliases = [name for name in _aliases(route) if self._names.get(name) is target]
            for name in main[:1] + aliases:
                entries.setdefault(name, ListedModel(name, route.created, route.model.namespace, target.key))
        return [entries[name] for name in sorted(entries)]

    def _claims_of_models(self) -> Iterator[_Claim]:
        """Yield what models are called, and note it for those who look in their own namespace first."""
        for route in self.models:
            if route.model.namespace:
                self._local[route.model.namespace, route.qualified_name] = route
        ids = [(route.model.model_id, route) for route in self.models]
        for name, route in [*ids, *((route.model.name, route) for route in self.models)]:
            self._local.setdefault((route.model.namespace, name), route)
            if not self._names_a_namespace(name) or name.partition("/")[0] == route.model.namespace:
                yield _Claim(name, route, route)

    def _target(self, route: Route) -> Route | None:
        """Return where a route leads: an alias looks in its own namespace first, and never at another alias."""
        alias = route.model.spec.alias
        if not alias or route.disabled:
            return route
        return self._local.get((route.model.namespace, alias)) or self._names.get(alias)

    def _claims_of_aliases(self) -> Iterator[_Claim]:
        for route, target in self._targets:
            own = [route.model.model_id, route.model.name] if route.model.spec.alias else []
            for alias in (*own, *_aliases(route)):
                if not self._names_a_namespace(alias):
                    yield _Claim(alias, route, target)

    def _names_a_namespace(self, name: str) -> bool:
        """Return whether a name could be a `namespace/name`: it would pass for that until there is such a model."""
        return "/" in name and name.partition("/")[0] in self._namespaces


def _granted(claims: Iterable[_Claim]) -> dict[str, Route]:
    """Return what each name leads to; of one namespace's claims, the first in order is heard."""
    claims = list(claims)
    holders: dict[str, str] = {}
    for claim in sorted(claims, key=lambda claim: _age(claim.claimant)):
        holders.setdefault(claim.name, claim.claimant.model.namespace)
    granted: dict[str, Route] = {}
    for claim in claims:
        if holders[claim.name] == claim.claimant.model.namespace:
            granted.setdefault(claim.name, claim.target)
    return granted


def _qualified(targets: Iterable[tuple[Route, Route]]) -> dict[str, Route]:
    return {route.qualified_name: target for route, target in targets if route.model.namespace}


def _age(route: Route) -> tuple[int, str, str]:
    return route.created, route.model.namespace, route.model.name


def _aliases(route: Route) -> list[str]:
    return route.model.spec.serving.aliases or []
