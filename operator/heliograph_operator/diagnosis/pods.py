"""Why the pods of a model's runtime do not answer, from the pods themselves (k8s.io/api/core/v1 `PodStatus`)."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from heliograph_operator.diagnosis.containers import container_trouble
from heliograph_operator.diagnosis.scheduling import scheduling_trouble
from heliograph_operator.diagnosis.trouble import Trouble, trouble, worst
from heliograph_operator.objects import condition_of, conditions_of
from heliograph_operator.resources import Object

_TEMPLATE_LABEL = "pod-template-hash"
_SUCCESSION = timedelta(minutes=5)
"""A pod that was made so soon after another one failed takes its place."""
_FIRST_READINESS = timedelta(seconds=2)
"""Condition Ready is first written within this time of the container's start; times are whole seconds."""
_LOST = {"NodeLost": "NodeLost", "Preempting": "Preempted", "Preempted": "Preempted"}
_ENDED = frozenset({"Evicted", "Terminated", "NodeShutdown", "Shutdown"})


def pods_trouble(pods: Iterable[Object], *, replica_set: str = "") -> Trouble | None:
    """Return what keeps the newest pods from answering, the worst of it; None when nothing is known to.

    Pods that are going and those of an older template are left out: what they suffer from is past.

    Args:
        pods: Those of one Deployment.
        replica_set: The ReplicaSet of the newest template, which decides between pods made in the same second.
    """
    current = sorted(_of_newest_template(pods, replica_set), key=_created, reverse=True)
    living = [pod for pod in current if not _has_failed(pod)]
    speaking = (pod for pod in current if not _has_failed(pod) or _awaits_successor(pod, living))
    return worst(found for pod in speaking if (found := pod_trouble(pod)))


def pod_trouble(pod: Object) -> Trouble | None:
    """Return what keeps one pod from doing its work or has ended it, or None when nothing is known to."""
    status = pod.get("status", {})
    if _has_failed(pod) and status.get("reason"):
        return _failure(str(status["reason"]))
    if not _has_failed(pod) and (found := scheduling_trouble(pod)):
        return found
    images = {container["name"]: container.get("image", "") for container in _containers(pod)}
    statuses = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    found = worst(found for item in statuses if (found := container_trouble(item, image=images.get(item["name"], ""))))
    return found or _unready(pod)


def _unready(pod: Object) -> Trouble | None:
    """Return why a pod whose containers run does not count as ready, if it did once."""
    status = pod.get("status", {})
    ready = condition_of(pod, "Ready", status="False")
    if ready is None or not ready.get("lastTransitionTime"):
        return None
    statuses = status.get("containerStatuses") or []
    if statuses and all(item.get("ready") for item in statuses) and not pod["spec"].get("readinessGates"):
        # Only the node's own controller contradicts a kubelet: it does not hear from it.
        node = pod["spec"].get("nodeName", "")
        return trouble("NodeLost", f"The node {node} does not report any more")
    for item in statuses:
        running = (item.get("state") or {}).get("running") or {}
        if item.get("ready") or not item.get("started") or not running.get("startedAt"):
            continue
        if _time(ready["lastTransitionTime"]) - _time(running["startedAt"]) > _FIRST_READINESS:
            return trouble("ProbeFailing", "The runtime was ready and is no more")
    return None


def _failure(reason: str) -> Trouble:
    """Return why a pod failed as a whole, by the reason that its kubelet gives."""
    if reason in _LOST:
        return trouble(_LOST[reason], f"A pod had to go ({reason})")
    if reason in _ENDED:
        return trouble("Evicted", f"The node ended the pod ({reason})")
    return trouble("RefusedByNode", f"The node refused the pod ({reason})")


def _awaits_successor(failed: Object, living: Sequence[Object]) -> bool:
    """Return whether nothing has taken a failed pod's place for good: what ended it may await its successor too."""
    times = [_time(item["lastTransitionTime"]) for item in conditions_of(failed) if item.get("lastTransitionTime")]
    end = max(times, default=_created(failed))
    return all(_created(pod) - end < _SUCCESSION and not _is_ready(pod) for pod in living)


def _of_newest_template(pods: Iterable[Object], replica_set: str) -> list[Object]:
    """Return the pods of the template whose first pod is the newest; an older template's pods may be replaced too."""

    def age(template: str) -> tuple[datetime, bool]:
        return min(map(_created, templates[template])), replica_set.endswith(f"-{template}")

    templates: dict[str, list[Object]] = {}
    for pod in pods:
        if not pod["metadata"].get("deletionTimestamp"):
            labels = pod["metadata"].get("labels") or {}
            templates.setdefault(labels.get(_TEMPLATE_LABEL, ""), []).append(pod)
    return templates[max(templates, key=age)] if templates else []


def _has_failed(pod: Object) -> bool:
    return bool(pod.get("status", {}).get("phase") == "Failed")


def _containers(pod: Object) -> list[Object]:
    return [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]


def _is_ready(pod: Object) -> bool:
    return condition_of(pod, "Ready", status="True") is not None


def _created(pod: Object) -> datetime:
    return _time(pod["metadata"]["creationTimestamp"])


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
