"""What the HTTP process and the worker say to each other: JSON messages, some with raw bytes behind them."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from heliograph_runtime.engines.protocol import Batch, Capabilities


@dataclass(frozen=True)
class Load:
    """To the worker, once and first: load this model."""

    spec: dict[str, Any]
    models_dir: str
    type: Literal["load"] = "load"


@dataclass(frozen=True)
class Loaded:
    """From the worker: the model is ready."""

    capabilities: Capabilities
    type: Literal["loaded"] = "loaded"


@dataclass(frozen=True)
class LoadFailed:
    """From the worker, its last word: the model can't be loaded (`LoadError`)."""

    reason: str
    message: str
    type: Literal["load_failed"] = "load_failed"


@dataclass(frozen=True)
class Generate:
    """To the worker: draw a batch. One job at a time."""

    job: int
    batch: Batch
    type: Literal["generate"] = "generate"


@dataclass(frozen=True)
class Cancel:
    """To the worker: stop this job at its next step; a job that has ended is left alone."""

    job: int
    type: Literal["cancel"] = "cancel"


@dataclass(frozen=True)
class Step:
    """From the worker: a job has done this many of its steps."""

    job: int
    done: int
    steps: int
    type: Literal["step"] = "step"


@dataclass(frozen=True)
class Drawn:
    """From the worker: a job is done. The pictures' pixels follow as bytes, one picture after the other."""

    job: int
    sizes: list[tuple[int, int]]
    type: Literal["drawn"] = "drawn"


@dataclass(frozen=True)
class Stopped:
    """From the worker: a job was cancelled."""

    job: int
    type: Literal["stopped"] = "stopped"


@dataclass(frozen=True)
class GenerateFailed:
    """From the worker: a job failed, and the worker lives on; the reason is in its log."""

    job: int
    out_of_memory: bool
    type: Literal["generate_failed"] = "generate_failed"


ToWorker = Load | Generate | Cancel
FromWorker = Loaded | LoadFailed | Step | Drawn | Stopped | GenerateFailed
Message = ToWorker | FromWorker

_MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="type")])


def encode(message: Message) -> bytes:
    """Return a message as JSON."""
    return _MESSAGE.dump_json(message)


def decode(text: bytes) -> Message:
    """Return the message of a JSON text; raise `ValueError` when it is none."""
    return _MESSAGE.validate_json(text)
