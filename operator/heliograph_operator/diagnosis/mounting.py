"""Whether a pod waits for its volumes: its status tells no cause, but how long it has waited."""

from collections.abc import Iterable
from datetime import datetime

from heliograph_operator.diagnosis.trouble import Trouble, trouble
from heliograph_operator.objects import claims_of, condition_of, is_over
from heliograph_operator.resources import Object

MOUNT_SECONDS = 120.0
"""Seconds that a volume may take to be attached and mounted before that counts as a trouble."""


def mounting_trouble(pods: Iterable[Object], *, now: datetime) -> Trouble | None:
    """Return that a pod has waited too long on its node for its volumes, or None when none has."""
    pods = list(pods)
    for pod in pods:
        placed = condition_of(pod, "PodScheduled", status="True")
        since = placed.get("lastTransitionTime") if placed else None
        if is_mounting(pod) and since and (now - datetime.fromisoformat(since)).total_seconds() >= MOUNT_SECONDS:
            what = ", ".join(_sources(pod)) or "volumes"
            reason = "VolumeInUse" if any(_has_volume_of(pod, other) for other in pods) else "VolumeNotMounted"
            return trouble(reason, f"A pod waits on its node for its {what}")
    return None


def _has_volume_of(waiting: Object, other: Object) -> bool:
    """Return whether a pod has, on another node, a volume of one that waits, and it is for one node at a time.

    That it is shows in the affinity of the one that waits, which was placed elsewhere before there was such a rule.
    """
    is_held = "podAffinity" in (waiting["spec"].get("affinity") or {})
    nodes = waiting["spec"].get("nodeName"), other["spec"].get("nodeName")
    is_apart = None not in nodes and nodes[0] != nodes[1]
    return is_held and is_apart and not is_over(other) and claims_of(waiting) == claims_of(other) != []


def _sources(pod: Object) -> list[str]:
    """Return what a pod's volumes are made of, any of which may be missing."""
    maps = [volume["configMap"] for volume in pod["spec"].get("volumes") or () if "configMap" in volume]
    needed = [found["name"] for found in maps if not found.get("optional")]
    return [*(f"PersistentVolumeClaim {name}" for name in claims_of(pod)), *(f"ConfigMap {name}" for name in needed)]


def is_mounting(pod: Object) -> bool:
    """Return whether a pod that is to stay has a node, and neither its volumes nor its network there."""
    is_placed = condition_of(pod, "PodScheduled", status="True") is not None
    is_waiting = condition_of(pod, "PodReadyToStartContainers", status="False") is not None
    is_pending = pod.get("status", {}).get("phase") == "Pending"
    return is_placed and is_waiting and is_pending and not pod["metadata"].get("deletionTimestamp")
