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

_SIGNS: Mapping[str, re.Pattern[str]] = {
    # Those of the whole pod come first, then those of a node by how far it came in the scheduler's filters: the node
    # that lacks nothing but a GPU is the one that the pod waits for.
    reason: re.compile(sign)
    for reason, sign in {
        "ClaimPending": r"unbound immediate PersistentVolumeClaims|persistent volumes to bind|storageclass",
        # The node of the volume has no room, and the others have no volume.
        "CacheNotShareable": r"match pod affinity rules",
        # Only a device has a name with a slash.
        "NoGpuFree": r"^Insufficient \S+/",
        "InsufficientMemory": r"^Insufficient memory",
        "InsufficientCpu": r"^Insufficient cpu",
        "InsufficientResource": r"^Insufficient ",
        "KeptApart": r"anti-affinity",
        "VolumeElsewhere": r"volume node affinity conflict|non-existent",
        "UntoleratedTaint": r"untolerated taint",
        "NoMatchingNode": r"node affinity/selector",
    }.items()
}
"""What the scheduler's plug-ins say (k8s.io/kubernetes/pkg/scheduler/framework/plugins), by what it means."""


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
    reasons = (reason for reason, sign in _SIGNS.items() if any(sign.search(cause) for cause in causes))
    return trouble(
        next(reasons, "Unschedulable"), f"No node takes the pod ({'; '.join(causes) or 'no cause is given'})"
    )


def _causes(message: str) -> list[str]:
    """Return the distinct causes in a scheduler's message without the numbers of nodes, which change all the time.

    It reads `0/3 nodes are available: 1 CAUSE, 2 CAUSE. PREEMPTION`.
    """
    text = _HEADING.sub("", message).partition(". ")[0].rstrip(".")
    parts = (_COUNT.sub("", part).removeprefix("node(s) ") for part in re.split(r", (?=\d+ )", text))
    return sorted({part for part in parts if part})
