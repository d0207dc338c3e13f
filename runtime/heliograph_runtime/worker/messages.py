"""What the HTTP process and the worker say to each other: JSON messages, some with pictures' bytes behind them."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from heliograph_runtime.engines.protocol import Batch, Capabilities, DeviceMemory, Inputs, Picture, Raster

FailureReason = Literal["error", "out_of_memory", "device_lost"]
"""Why a batch failed: the log says; it does not fit into memory, alone or in parts; the worker ends."""

DEVICE_LOST_STATUS = 75
"""Exit status of a worker whose device needs a new process (EX_TEMPFAIL of sysexits.h)."""


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
    memory: DeviceMemory | None = None
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
    """From the worker: a job has done this many of its steps; `previews` has one picture for each prompt, or none."""

    job: int
    done: int
    steps: int
    previews: tuple[Picture, ...] = ()
    type: Literal["step"] = "step"


@dataclass(frozen=True)
class Drawn:
    """From the worker: a job is done; `steps` were gone, `steps_each` of them for each picture."""

    job: int
    steps: int
    pictures: tuple[Picture, ...]
    steps_each: int = 0
    memory: DeviceMemory | None = None
    type: Literal["drawn"] = "drawn"


@dataclass(frozen=True)
class Stopped:
    """From the worker: a job was cancelled after `steps`."""

    job: int
    steps: int
    type: Literal["stopped"] = "stopped"


@dataclass(frozen=True)
class Refused:
    """From the worker: a job asks for what the engine can't do (`RefusedError`)."""

    job: int
    steps: int
    field: str
    problem: str
    type: Literal["refused"] = "refused"


@dataclass(frozen=True)
class GenerateFailed:
    """From the worker: a job failed after `steps`; the details are in its log."""

    job: int
    steps: int
    reason: FailureReason
    type: Literal["generate_failed"] = "generate_failed"


ToWorker = Load | Generate | Cancel
JobEnd = Drawn | Stopped | Refused | GenerateFailed
"""How a job ends; `steps` is the number of steps that were gone."""
FromWorker = Loaded | LoadFailed | Step | JobEnd
Message = ToWorker | FromWorker

_MESSAGE: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="type")])


def encode(message: Message) -> tuple[bytes, list[bytes]]:
    """Return a message as JSON without pixels, and the pixels of each of its pictures."""
    pixels: list[bytes] = []

    def put_behind(part: bytes) -> bytes:
        pixels.append(part)
        return b""

    return _MESSAGE.dump_json(_with_pixels(message, put_behind)), pixels


def decode(text: bytes, pixels: Sequence[bytes] = ()) -> Message:
    """Return the message of a JSON text with its pixels; raise `ValueError` when it is none."""
    parts = deque(pixels)
    try:
        return _with_pixels(_MESSAGE.validate_json(text), lambda _: parts.popleft())
    except IndexError:
        raise ValueError(f"the message has more pictures than the {len(pixels)} behind it") from None


def _with_pixels(message: Message, change: Callable[[bytes], bytes]) -> Message:
    """Return a message whose pictures have other pixels, changed in a fixed order."""

    def pictures(given: tuple[Picture, ...]) -> tuple[Picture, ...]:
        return tuple(replace(picture, pixels=change(picture.pixels)) for picture in given)

    match message:
        case Generate(batch=Batch(inputs=Inputs() as inputs) as batch):
            return replace(message, batch=replace(batch, inputs=_inputs_with_pixels(inputs, change)))
        case Step():
            return replace(message, previews=pictures(message.previews))
        case Drawn():
            return replace(message, pictures=pictures(message.pictures))
        case _:
            return message


def _inputs_with_pixels(inputs: Inputs, change: Callable[[bytes], bytes]) -> Inputs:
    def changed(raster: Raster) -> Raster:
        return replace(raster, pixels=change(raster.pixels))

    return Inputs(
        images=tuple(map(changed, inputs.images)),
        mask=inputs.mask and changed(inputs.mask),
        control=inputs.control and changed(inputs.control),
        last_image=inputs.last_image and changed(inputs.last_image),
    )
