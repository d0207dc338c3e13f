"""The state of a model as people see it, from its replicas, its spec and what is told of it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from heliograph_gateway.names import Route
from heliograph_gateway.routing import RoutingTable

State = Literal["ready", "cold", "loading", "failed", "disabled"]


class ModelState(BaseModel):
    """What is known of a model."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    state: State
    """`ready`, it answers; `cold`, it has no replica and a request or a person starts one; `loading`, one is on its
    way; `failed`, none will come until somebody does something; `disabled`, it is turned off."""
    reason: str | None
    """Why, in one word for machines: that of the ImageModel's condition Ready. Null when nothing is told."""
    message: str | None
    """Why, and what to do about it, in a sentence."""
    progress: float | None
    """How much of its weights is fetched, 0 to 1; null when that is not known, or they are not being fetched."""
    replicas: int
    """Replicas that are wanted."""
    ready_replicas: int
    """Replicas that take requests."""
    namespace: str
    """Namespace of the ImageModel; empty outside a cluster."""


def state_of(route: Route, routes: RoutingTable) -> ModelState:
    """Return the state of a model that is no alias."""
    told, ready = route.observed, len(routes.ready(route))
    return ModelState(
        state=_state(route, ready),
        reason=told.reason,
        message=(route.not_ready or None) if told.reason else None,
        progress=told.progress,
        replicas=route.replicas,
        ready_replicas=ready,
        namespace=route.model.namespace,
    )


def _state(route: Route, ready: int) -> State:
    if route.disabled:
        return "disabled"
    if ready:
        return "ready"
    if route.observed.failed:
        return "failed"
    # Weights may be fetched before any replica is wanted; `serve` runs a model whatever number is.
    is_cold = not route.replicas and route.observed.reason in {None, "ScaledToZero"}
    return "cold" if is_cold else "loading"
