"""Why the scheduler finds no node, from what it writes to a pod's condition PodScheduled."""

import re
from collections.abc import Mapping

from heliograph_operator.diagnosis.trouble import Trouble, trouble
from heliograph_operator.objects import condition_of
from heliograph_operator.resources import Object

_HEADING = re.compile(r"^\d+/\d+ nodes are available: ")
_COUNT = re.compile(r"^\d+ ")
_CLAIM_MISSING = re.compile(r'persistentvolumeclaim "([^"]*)" not found')
_NO_NODES = "no nodes available to schedule pods"
_DEVICE = re.compile(r"Insufficient \S+/")
"""Only a device has a name with a slash."""

_SIGNS: Mapping[str, re.Pattern[str]] = {
    # Those of the whole pod come first, then those of a node by how far it came in the scheduler's filters: the node
    # that lacks nothing but a GPU is the one that the pod waits for.
    reason: re.compile(sign)
    for reason, sign in {
        "ClaimPending": r"unbound immediate PersistentVolumeClaims|persistent volumes to bind|storageclass",
        # The node of the volume has no room, and the others have no volume.
        "CacheNotShareable": r"match pod affinity rules|ReadWriteOncePod",
        "NoGpuFree": rf"^{_DEVICE.pattern}",
        "InsufficientMemory": r"^Insufficient memory",
        "InsufficientCpu": r"^Insufficient cpu",
        "InsufficientResource": r"^Insufficient ",
        "KeptApart": r"anti-affinity",
        # Kubernetes has changed the words of it.
        "VolumeElsewhere": r"volume node affinity conflict|PersistentVolume's node affinity|volume zone|non-existent",
        "UntoleratedTaint": r"untolerated taint",
        "NoMatchingNode": r"node affinity/selector",
    }.items()
}
"""What the scheduler's plug-ins say (k8s.io/kubernetes/pkg/scheduler/framework/plugins), by what it means."""
_LACKS_ROOM = frozenset({"NoGpuFree", "InsufficientMemory", "InsufficientCpu", "InsufficientResource"})
_AT_THE_VOLUME = (
    "the volume is reached from some nodes alone, so that further ones are of no use: make room on those, or use a "
    "volume that every node reaches"
)
"""Remedy where nodes lack room, and others the volume. Room is what is told: it may come without anybody's doing."""


def scheduling_trouble(pod: Object) -> Trouble | None:
    """Return why a pod has no node, or None when it has one or is yet to be looked at."""
    condition = condition_of(pod, "PodScheduled", status="False")
    if condition is None or condition.get("reason") == "SchedulingGated":
        return None
    message = str(condition.get("message", ""))
    if missing := _CLAIM_MISSING.search(message):
        return trouble("ClaimMissing", f"There is no PersistentVolumeClaim {missing[1]} in the model's namespace")
    if message.startswith(_NO_NODES):
        return trouble("Unschedulable", "The cluster has no nodes")
    causes = _causes(message)
    reasons = [reason for reason, sign in _SIGNS.items() if any(sign.search(cause) for cause in causes)]
    reason = reasons[0] if reasons else "Unschedulable"
    problem = f"No node takes the pod ({'; '.join(causes) or 'no cause is given'})"
    if reason in _LACKS_ROOM and "VolumeElsewhere" in reasons:
        return Trouble(reason, f"{problem}: {_AT_THE_VOLUME}.")
    return trouble(reason, problem)


def misses_volume(pod: Object) -> bool:
    """Return whether a pod has no node since nodes, if perhaps not all of them, cannot reach its volume."""
    condition = condition_of(pod, "PodScheduled", status="False") or {}
    return re.search(_SIGNS["VolumeElsewhere"], str(condition.get("message", ""))) is not None


def lacks_device(message: str) -> bool:
    """Return whether a trouble that `scheduling_trouble` told says that a node lacks nothing but devices."""
    return _DEVICE.search(message) is not None


def _causes(message: str) -> list[str]:
    """Return the distinct causes in a scheduler's message without the numbers of nodes, which change all the time.

    It reads `0/3 nodes are available: 1 CAUSE, 2 CAUSE. PREEMPTION`.
    """
    text = _HEADING.sub("", message).partition(". ")[0].rstrip(".")
    parts = (_COUNT.sub("", part).removeprefix("node(s) ") for part in re.split(r", (?=\d+ )", text))
    return sorted({part for part in parts if part})
