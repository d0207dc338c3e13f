"""Why a model's runtime does not get ready, from its Deployment and its pods."""

import re
from collections.abc import Iterable

from heliograph_operator.diagnosis.pods import pods_trouble
from heliograph_operator.diagnosis.refusals import pods_refused
from heliograph_operator.diagnosis.trouble import Trouble, trouble
from heliograph_operator.objects import condition_of
from heliograph_operator.resources import Object

_REPLICA_SET = re.compile(r'replica ?set "([^"]+)"', re.IGNORECASE)


def runtime_trouble(deployment: Object, pods: Iterable[Object]) -> Trouble | None:
    """Return what keeps replicas from getting ready, or None when nothing is known to.

    Args:
        deployment: The Deployment with its conditions (k8s.io/api/apps/v1 `DeploymentCondition`).
        pods: Its pods.
    """
    found = _creation_trouble(deployment) or pods_trouble(pods, replica_set=_replica_set(deployment))
    return found or _deadline_trouble(deployment)


def _replica_set(deployment: Object) -> str:
    """Return the name of the ReplicaSet that the Deployment makes its pods by, empty when it does not say."""
    condition = condition_of(deployment, "Progressing") or {}
    named = _REPLICA_SET.search(str(condition.get("message", "")))
    return named[1] if named else ""


def _creation_trouble(deployment: Object) -> Trouble | None:
    """Return why pods cannot be made, or None when they can."""
    condition = condition_of(deployment, "ReplicaFailure", status="True")
    stopped = condition_of(deployment, "Progressing", status="False")
    if condition is None and stopped is not None and stopped.get("reason") == "ReplicaSetCreateError":
        condition = stopped
    return pods_refused(str(condition.get("message", ""))) if condition is not None else None


def _deadline_trouble(deployment: Object) -> Trouble | None:
    """Return that the Deployment has waited too long for a replica, or None when it has not."""
    condition = condition_of(deployment, "Progressing", status="False")
    if condition is None or condition.get("reason") != "ProgressDeadlineExceeded":
        return None
    seconds = deployment["spec"].get("progressDeadlineSeconds", 0)
    return trouble("ProgressDeadlineExceeded", f"No further replica got ready within {seconds} s")
