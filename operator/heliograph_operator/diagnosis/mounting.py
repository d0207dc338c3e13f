"""Whether a pod waits for its volumes: its status tells no cause, but how long it has waited."""

from collections.abc import Iterable
from datetime import datetime

from heliograph_operator.diagnosis.trouble import Trouble, trouble
from heliograph_operator.objects import condition_of
from heliograph_operator.resources import Object

MOUNT_SECONDS = 120.0
"""Seconds that a volume may take to be attached and mounted before that counts as a trouble."""


def mounting_trouble(pods: Iterable[Object], *, now: datetime) -> Trouble | None:
    """Return that a pod has waited too long on its node for its volumes, or None when none has."""
    for pod in pods:
        placed = condition_of(pod, "PodScheduled", status="True")
        since = placed.get("lastTransitionTime") if placed else None
        if is_mounting(pod) and since and (now - datetime.fromisoformat(since)).total_seconds() >= MOUNT_SECONDS:
            claims = [volume["persistentVolumeClaim"]["claimName"] for volume in _volumes(pod)]
            what = f"PersistentVolumeClaim {', '.join(claims)}" if claims else "volumes"
            return trouble("VolumeNotMounted", f"A pod waits on its node for its {what}")
    return None


def is_mounting(pod: Object) -> bool:
    """Return whether a pod that is to stay has a node, and neither its volumes nor its network there."""
    is_placed = condition_of(pod, "PodScheduled", status="True") is not None
    is_waiting = condition_of(pod, "PodReadyToStartContainers", status="False") is not None
    is_pending = pod.get("status", {}).get("phase") == "Pending"
    return is_placed and is_waiting and is_pending and not pod["metadata"].get("deletionTimestamp")


def _volumes(pod: Object) -> list[Object]:
    return [volume for volume in pod["spec"].get("volumes") or () if "persistentVolumeClaim" in volume]
