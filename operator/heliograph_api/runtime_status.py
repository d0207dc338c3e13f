"""What a runtime tells of the moment: the gateway's admin API shows it, and its queue is filled by it."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

PATH = "/status"
"""Where a runtime tells it."""

_Count = Annotated[int, Field(ge=0, le=2**31)]
_Bytes = Annotated[int, Field(ge=0, le=2**62)]


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", use_attribute_docstrings=True)


class GpuStatus(_Told):
    """The GPUs that a model is on; their memory is counted together, whoever uses it."""

    name: Annotated[str, StringConstraints(max_length=128, pattern=r"^[^\x00-\x1f\x7f]*$")]
    """Name of the first."""
    count: _Count
    """How many there are."""
    memory_used: _Bytes
    """Bytes in use when the model was last drawn with, or loaded."""
    memory_total: _Bytes
    """Bytes in all."""


class RuntimeStatus(_Told):
    """What one replica does at the moment."""

    ready: bool
    """Whether it can draw."""
    busy: bool
    """Whether it is drawing."""
    requests: _Count
    """Requests at work or waiting."""
    most_requests: _Count | None = None
    """Most requests at work or waiting that it takes; null where it does not tell."""
    queue: _Count
    """Pictures that wait to be drawn."""
    gpu: GpuStatus | None
    """Its GPUs; null on a CPU, or where the engine does not tell."""
