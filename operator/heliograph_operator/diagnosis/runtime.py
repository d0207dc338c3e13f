"""Why a model's runtime does not get ready, from its Deployment and its pods."""

import re
from collections.abc import Iterable

from heliograph_operator.diagnosis.pods import pods_trouble
from heliograph_operator.diagnosis.trouble import Trouble, quote, trouble
from heliograph_operator.objects import condition_of
from heliograph_operator.resources import Object

_SUBJECT = re.compile(r'^(?:.*: )?(?:pods|replicasets\.apps) "[^"]*" is forbidden: ')
"""Each attempt names another pod."""
_QUOTA = re.compile(
    r"exceeded quota: (?P<name>[^,]+), requested: (?P<requested>.*), used: .*, limited: (?P<limited>.*)$"
)
_QUOTA_WANTS = re.compile(r"failed quota: (?P<name>[^:]+): must specify (?P<what>.*)$")


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
    if condition is None:
        return None
    message = str(condition.get("message", ""))
    if found := _QUOTA.search(message):
        # What is used is left out: it changes with what else the namespace holds.
        return trouble(
            "QuotaExceeded",
            f"The ResourceQuota {found['name']} allows no further pod (it asks for {found['requested']}, and "
            f"{found['limited']} is all there may be)",
        )
    if found := _QUOTA_WANTS.search(message):
        return trouble("QuotaExceeded", f"The ResourceQuota {found['name']} wants {quote(found['what'])} to be given")
    return trouble("PodRejected", f"The pods are refused ({quote(_SUBJECT.sub('', message))})")


def _deadline_trouble(deployment: Object) -> Trouble | None:
    """Return that the Deployment has waited too long for a replica, or None when it has not."""
    condition = condition_of(deployment, "Progressing", status="False")
    if condition is None or condition.get("reason") != "ProgressDeadlineExceeded":
        return None
    seconds = deployment["spec"].get("progressDeadlineSeconds", 0)
    return trouble("ProgressDeadlineExceeded", f"No further replica got ready within {seconds} s")
