"""Why a model's runtime does not get ready, from its Deployment and its pods."""

from collections.abc import Iterable

from heliograph_operator.diagnosis.pods import pods_trouble
from heliograph_operator.diagnosis.refusals import pods_refused
from heliograph_operator.diagnosis.trouble import Trouble, trouble
from heliograph_operator.objects import condition_of
from heliograph_operator.resources import Object


def runtime_trouble(deployment: Object, pods: Iterable[Object]) -> Trouble | None:
    """Return what keeps replicas from getting ready, or None when nothing is known to.

    Args:
        deployment: The Deployment with its conditions (k8s.io/api/apps/v1 `DeploymentCondition`).
        pods: Its pods.
    """
    return _creation_trouble(deployment) or pods_trouble(pods) or _deadline_trouble(deployment)


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
