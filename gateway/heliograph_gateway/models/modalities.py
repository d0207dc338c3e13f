"""What every model takes and makes, in the words of LocalAI's `/v1/models/capabilities`."""

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from heliograph_gateway.keys.caller import Caller
from heliograph_gateway.models.capabilities import KnownCapabilities
from heliograph_gateway.names import Route
from heliograph_gateway.routing import RoutingTable

_FROM_PICTURES = frozenset({"edit", "variation", "inpaint"})


class AbleEntry(BaseModel):
    """What a model takes and makes; the lists are empty until a replica has told, unless its spec says it."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    id: str
    """What requests call it."""
    object: Literal["model"] = "model"
    """Always `model`."""
    capabilities: tuple[str, ...]
    """What it is for: `image` or `video`."""
    input_modalities: tuple[str, ...]
    """What it draws from, `text` and `image`; `known_input_modalities` of the ImageModel where it has them."""
    output_modalities: tuple[str, ...]
    """What it draws, `image` or `video`; `known_output_modalities` of the ImageModel where it has them."""


class AbleEntries(BaseModel):
    """The list."""

    object: Literal["list"] = "list"
    """Always `list`."""
    data: list[AbleEntry]
    """The models of `/v1/models`."""


async def list_abilities(routes: RoutingTable, caller: Caller, capabilities: KnownCapabilities) -> AbleEntries:
    """Return what the models take and make that a caller may ask for."""
    listed = [(model.id, target) for model in routes.listed(caller) if (target := routes.known_as(model.leads_to))]
    known = await asyncio.gather(*(capabilities.of(target) for _, target in listed))
    return AbleEntries(
        data=[_entry(name, target, told) for (name, target), told in zip(listed, known, strict=True)],
    )


def _entry(name: str, route: Route, told: Mapping[str, Any] | None) -> AbleEntry:
    spec = route.model.spec
    taken, made = _modalities(told) if told else ((), ())
    return AbleEntry(
        id=name,
        capabilities=made,
        input_modalities=taken if spec.known_input_modalities is None else tuple(spec.known_input_modalities),
        output_modalities=made if spec.known_output_modalities is None else tuple(spec.known_output_modalities),
    )


def _modalities(told: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what a model draws from and what it draws. That any model enlarges pictures does not count."""
    parameters = told["parameters"]
    is_clip = told["video"] is not None
    pictured = "image" in parameters if is_clip else not _FROM_PICTURES.isdisjoint(told["operations"])
    taken = [kind for kind, has in (("text", "prompt" in parameters), ("image", pictured)) if has]
    return tuple(taken), ("video" if is_clip else "image",)
