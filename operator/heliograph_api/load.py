"""What a gateway tells the operator of its load, as JSON over HTTP inside the cluster."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

PATH = "/load"
"""Where a gateway tells it, on a listener of its own."""
PORT_NAME = "load"
"""Name of that listener's port in EndpointSlices."""

_Count = Annotated[int, Field(ge=0, le=1_000_000)]
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ModelLoad(BaseModel):
    """The requests of one gateway for one model."""

    model_config = ConfigDict(frozen=True)

    outstanding: _Count
    """Requests that are at work on replicas or on their way there."""
    queued: _Count
    """Requests that are held until a replica is ready and has room for them."""
    idle_seconds: _Seconds
    """Seconds since the last request ended; 0 while there is one."""


class GatewayLoad(BaseModel):
    """The load of one gateway."""

    model_config = ConfigDict(frozen=True)

    uptime_seconds: _Seconds
    """Seconds since its process started; a model that is not listed had no request for so long."""
    models: Mapping[str, ModelLoad]
    """The models that had requests, by `namespace/name`; a request for an alias counts for its model."""
