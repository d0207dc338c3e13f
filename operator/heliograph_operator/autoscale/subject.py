"""An ImageModel as the autoscaler sees it."""

from dataclasses import dataclass
from datetime import datetime

from heliograph_api.errors import SpecError
from heliograph_api.manifest import ImageModel
from heliograph_api.serving import Scaling
from heliograph_operator.diagnosis.scheduling import lacks_device
from heliograph_operator.resources import Object

_NO_GPU = "NoGpuFree"
_NO_GPU_AT_THE_VOLUME = "CacheNotShareable"
"""Reasons of the condition Ready that `diagnosis.scheduling` gives."""
_STARTING = "Starting"
"""Its reason where no replica is ready and nothing is known to be wrong."""


@dataclass(frozen=True)
class Subject:
    """A model that is scaled by itself.

    Attributes:
        scaling: How.
        replicas: How many replicas are wanted now.
        pinned: Whether idleness must not take its last replica away.
        starting: Whether replicas are wanted and none was ready so far, without anything being in the way. To take them
            away then would mean that a model which loads for longer than it may be idle never gets ready.
        priority: Rank among models that compete for a GPU.
        lacks_gpu: Whether no replica is ready because no GPU is free.
        ready_since: Since when at least one replica is ready; None when none is.
    """

    scaling: Scaling
    replicas: int
    pinned: bool = False
    starting: bool = False
    priority: int = 0
    lacks_gpu: bool = False
    ready_since: datetime | None = None


def subject_of(obj: Object) -> Subject | None:
    """Return an ImageModel as the autoscaler sees it; None where it has nothing to decide."""
    serving = (obj.get("spec") or {}).get("serving") or {}
    # Most models have none, and reading a whole spec takes time.
    if serving.get("scaling") is None or obj["metadata"].get("deletionTimestamp"):
        return None
    try:
        spec = ImageModel.from_object(obj).spec
    except SpecError:
        return None
    if spec.serving.scaling is None or spec.disabled or spec.alias:
        return None
    return Subject(
        scaling=spec.serving.scaling,
        replicas=spec.serving.replicas,
        pinned=bool(spec.pinned),
        starting=spec.serving.replicas > 0 and _is_starting(obj),
        priority=spec.serving.priority or 0,
        lacks_gpu=spec.serving.replicas > 0 and _lacks_gpu(obj),
        ready_since=_ready_since(obj),
    )


def _is_starting(obj: Object) -> bool:
    status = obj.get("status") or {}
    if status.get("observedGeneration", 0) < obj["metadata"].get("generation", 0):
        return True
    ready = _condition(status, "Ready")
    return not status.get("readyReplicas") and (ready is None or ready["reason"] == _STARTING)


def _lacks_gpu(obj: Object) -> bool:
    condition = _condition(obj.get("status") or {}, "Ready")
    if condition is None or condition["reason"] != _NO_GPU_AT_THE_VOLUME:
        return condition is not None and condition["reason"] == _NO_GPU
    return lacks_device(str(condition.get("message", "")))


def _ready_since(obj: Object) -> datetime | None:
    condition = _condition(obj.get("status") or {}, "Ready")
    if condition is None or condition["status"] != "True":
        return None
    try:
        since = datetime.fromisoformat(condition["lastTransitionTime"])
    except ValueError:
        return None  # whoever may write a status may write anything
    return since if since.tzinfo else None


def _condition(status: Object, kind: str) -> Object | None:
    return next((item for item in status.get("conditions") or () if item["type"] == kind), None)
