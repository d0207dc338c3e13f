"""Which model a name stands for."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from heliograph_api import naming
from heliograph_api.manifest import ImageModel


@dataclass(frozen=True)
class Route:
    """An ImageModel that requests may ask for.

    Attributes:
        model: The ImageModel; with `spec.alias` it leads to another one.
        created: When it was created, in Unix seconds.
        not_ready: Why it cannot answer yet, for people; empty when that is not known.
    """

    model: ImageModel
    created: int = 0
    not_ready: str = ""

    @property
    def service(self) -> tuple[str, str]:
        """Return namespace and name of the Service in front of the replicas."""
        return self.model.namespace, naming.child_name(self.model.name)

    @property
    def qualified_name(self) -> str:
        """Return `namespace/name`."""
        return f"{self.model.namespace}/{self.model.name}"

    @property
    def disabled(self) -> bool:
        """Return whether requests are answered with 403."""
        return bool(self.model.spec.disabled)


@dataclass(frozen=True)
class ListedModel:
    """An entry of the list of models.

    Attributes:
        id: A name that reaches the model.
        created: When its ImageModel was created, in Unix seconds.
        owner: Namespace of the ImageModel; empty outside a cluster.
    """

    id: str
    created: int
    owner: str


class NameIndex:
    """Every name with the route that it leads to.

    `namespace/name` comes first, then public ids, then `metadata.name`, then aliases. A name that two models claim
    belongs to the older one, so that nobody takes over a name that is in use.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        """Index the routes of one moment."""
        by_age = sorted(routes, key=lambda route: (route.created, route.model.namespace, route.model.name))
        self.models = [route for route in by_age if not route.model.spec.alias]
        """The routes that lead to no other, from the oldest to the youngest."""
        self._names: dict[str, Route] = {}
        self._local: dict[tuple[str, str], Route] = {}
        self._add_models()
        targets = [(route, self._target(route)) for route in by_age]
        self._targets = [(route, target) for route, target in targets if target]
        self._add_aliases()

    def get(self, name: str) -> Route | None:
        """Return the model that a name leads to, or None."""
        return self._names.get(name)

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
                entries.setdefault(name, ListedModel(name, route.created, route.model.namespace))
        return [entries[name] for name in sorted(entries)]

    def _add_models(self) -> None:
        names = chain(
            [(route.qualified_name, route) for route in self.models if route.model.namespace],
            [(route.model.model_id, route) for route in self.models],
            [(route.model.name, route) for route in self.models],
        )
        for name, route in names:
            self._names.setdefault(name, route)
            self._local.setdefault((route.model.namespace, name), route)

    def _target(self, route: Route) -> Route | None:
        """Return where a route leads: an alias looks in its own namespace first, and never at another alias."""
        alias = route.model.spec.alias
        if not alias or route.disabled:
            return route
        return self._local.get((route.model.namespace, alias)) or self._names.get(alias)

    def _add_aliases(self) -> None:
        namespaces = {route.model.namespace for route, _ in self._targets}
        for route, target in self._targets:
            if route.model.namespace:
                self._names[route.qualified_name] = target
        for route, target in self._targets:
            own = [route.model.model_id, route.model.name] if route.model.spec.alias else []
            for alias in (*own, *_aliases(route)):
                # Else a model of one namespace could pass for one of another, until that one is created.
                if "/" not in alias or alias.partition("/")[0] not in namespaces:
                    self._names.setdefault(alias, target)


def _aliases(route: Route) -> list[str]:
    return route.model.spec.serving.aliases or []
