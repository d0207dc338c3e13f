"""Models as `/v1/models` tells of them: OpenAI's `Model`, and beside it what is known of it here."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from heliograph_gateway.keys.caller import Caller
from heliograph_gateway.models.states import ModelState, state_of
from heliograph_gateway.names import ListedModel, Route
from heliograph_gateway.routing import RoutingTable

NOBODY = "heliograph"
"""Who owns the models where there are no namespaces."""


class Entry(BaseModel):
    """A model of the list."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    id: str
    """What requests call it."""
    object: Literal["model"] = "model"
    """Always `model`."""
    created: int
    """When it was created, in Unix seconds."""
    owned_by: str
    """Namespace of the ImageModel; `heliograph` outside a cluster."""
    heliograph: ModelState
    """Its state."""


class Entries(BaseModel):
    """The list."""

    object: Literal["list"] = "list"
    """Always `list`."""
    data: list[Entry]
    """The models, by id."""


class DescribedState(ModelState):
    """What is known of one model."""

    capabilities: dict[str, Any] | None
    """What it can do: operations, parameters with the JSON schema of each, and more; null until a replica has told."""


class DescribedEntry(Entry):
    """A model that was asked for by its id."""

    heliograph: DescribedState
    """Its state, and what it can do."""


def list_models(routes: RoutingTable, caller: Caller) -> Entries:
    """Return the models that a caller may ask for; an alias has the state of the model that it leads to."""
    entries = [_entry(listed, routes) for listed in routes.listed(caller)]
    return Entries(data=[entry for entry in entries if entry])


def describe_model(
    model_id: str, route: Route, routes: RoutingTable, capabilities: Mapping[str, Any] | None
) -> DescribedEntry:
    """Return what is known of a model.

    Args:
        model_id: What it was asked for as.
        route: The model.
        routes: Where its replicas are.
        capabilities: What it can do, if that is known.
    """
    state = state_of(route, routes).model_dump()
    return DescribedEntry(
        id=model_id,
        created=route.created,
        owned_by=route.model.namespace or NOBODY,
        heliograph=DescribedState(**state, capabilities=capabilities and dict(capabilities)),
    )


def _entry(listed: ListedModel, routes: RoutingTable) -> Entry | None:
    target = routes.known_as(listed.leads_to)
    if target is None:
        return None
    state = state_of(target, routes)
    return Entry(id=listed.id, created=listed.created, owned_by=listed.owner or NOBODY, heliograph=state)
