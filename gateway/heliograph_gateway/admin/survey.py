"""How every model stands, with its replicas and the requests that wait for it."""

import asyncio
from typing import Literal

from pydantic import BaseModel, ConfigDict

from heliograph_api.runtime_status import PATH, GpuStatus, RuntimeStatus
from heliograph_gateway.holding import Hold
from heliograph_gateway.models.reading import ReplicaReader
from heliograph_gateway.models.states import State, state_of
from heliograph_gateway.names import Route
from heliograph_gateway.routing import Endpoint, RoutingTable

_SECONDS = 2.0
"""Longest that the replicas have to answer, all of them together: they are asked at once."""
_MOST_ASKED = 1000
"""Replicas that are asked; of more, the rest is shown without what only they know."""


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Replica(_Shown):
    """A replica that takes requests, or has some to finish."""

    address: str
    """Address and port."""
    ready: bool
    """Whether it takes requests."""
    outstanding: int
    """Requests of this gateway that are at work on it."""
    busy: bool | None
    """Whether it is drawing; this and what follows is null when it does not tell in time."""
    requests: int | None
    """Requests that it has at work or waiting, whoever sent them."""
    queue: int | None
    """Pictures that wait in it to be drawn."""
    gpu: GpuStatus | None
    """Its GPUs; null on a CPU too, or where the engine does not tell."""


class SurveyedModel(_Shown):
    """A model with all that is known of it."""

    namespace: str
    """Namespace of the ImageModel; empty outside a cluster."""
    name: str
    """`metadata.name` of the ImageModel."""
    id: str
    """What requests call it."""
    aliases: list[str]
    """Further names that its spec claims."""
    state: State
    """As in `/v1/models`."""
    reason: str | None
    """As in `/v1/models`."""
    message: str | None
    """As in `/v1/models`."""
    progress: float | None
    """As in `/v1/models`."""
    scaled: bool
    """Whether requests and idleness change the number of its replicas."""
    wanted: int
    """Replicas that are wanted."""
    replicas: list[Replica]
    """Replicas that there are."""
    held: int
    """Requests that wait at this gateway for a replica, or for room at one."""
    queue: dict[str, int]
    """The same by the name of the key, which is empty where no key is asked for."""


class Survey(_Shown):
    """All models, as one gateway sees them."""

    object: Literal["list"] = "list"
    """Always `list`."""
    data: list[SurveyedModel]
    """The models, by namespace and name; an alias is no model of its own."""


async def survey(routes: RoutingTable, hold: Hold, reader: ReplicaReader) -> Survey:
    """Return how every model stands; replicas that do not answer in time are shown without what only they know."""
    models = sorted((route for route in routes.known() if not route.model.spec.alias), key=lambda route: route.key)
    endpoints = [endpoint for route in models for endpoint, _, _ in routes.replicas(route)][:_MOST_ASKED]
    answers = await asyncio.gather(
        *(reader.read(endpoint, PATH, RuntimeStatus, seconds=_SECONDS) for endpoint in endpoints)
    )
    told = dict(zip(endpoints, answers, strict=True))
    return Survey(data=[_surveyed(route, routes, hold, told) for route in models])


def _surveyed(
    route: Route, routes: RoutingTable, hold: Hold, told: dict[Endpoint, RuntimeStatus | None]
) -> SurveyedModel:
    state, queue = state_of(route, routes), hold.waiting(route)
    return SurveyedModel(
        namespace=route.model.namespace,
        name=route.model.name,
        id=route.model.model_id,
        aliases=list(route.model.spec.serving.aliases or ()),
        state=state.state,
        reason=state.reason,
        message=state.message,
        progress=state.progress,
        scaled=route.scaling is not None,
        wanted=state.replicas,
        replicas=[
            _replica(endpoint, told.get(endpoint), ready=ready, outstanding=outstanding)
            for endpoint, ready, outstanding in routes.replicas(route)
        ],
        held=sum(queue.values()),
        queue=queue,
    )


def _replica(endpoint: Endpoint, told: RuntimeStatus | None, *, ready: bool, outstanding: int) -> Replica:
    return Replica(
        address=endpoint.url.removeprefix("http://"),
        ready=ready,
        outstanding=outstanding,
        busy=told.busy if told else None,
        requests=told.requests if told else None,
        queue=told.queue if told else None,
        gpu=told.gpu if told else None,
    )
