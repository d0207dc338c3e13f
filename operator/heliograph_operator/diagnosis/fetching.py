"""Why weights are not fetched, from the Job that fetches them and its pods."""

from collections.abc import Iterable

from heliograph_operator.diagnosis.pods import pod_trouble
from heliograph_operator.diagnosis.refusals import pods_refused
from heliograph_operator.diagnosis.trouble import Trouble, trouble
from heliograph_operator.objects import condition_of
from heliograph_operator.resources import Object

_ATTEMPT = "Error creating: "


def fetch_trouble(job: Object | None, pods: Iterable[Object]) -> Trouble | None:
    """Return why the weights do not come, or None when nothing is known to be in the way.

    Args:
        job: The Job that fetches them, as far as there is one.
        pods: Its pods. Each is a new try: the newest that says what is wrong is believed, until one succeeds.
    """
    tries = sorted(
        (pod for pod in pods if not pod["metadata"].get("deletionTimestamp")),
        key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]),
        reverse=True,
    )
    for pod in tries:
        if pod.get("status", {}).get("phase") == "Succeeded":
            return None
        if found := pod_trouble(pod):
            return found
    return _given_up(job) if job is not None else None


def unmade_trouble(events: Iterable[Object]) -> Trouble | None:
    """Return why no pod of a Job is made, or None when nothing is known to be in the way.

    A Job has no condition for it, unlike a Deployment.

    Args:
        events: What is told of the Job (k8s.io/api/events/v1 `Event`).
    """
    failures = [event for event in events if event.get("reason") == "FailedCreate"]
    newest = max(failures, key=_told_at, default=None)
    return pods_refused(str(newest.get("note", "")).removeprefix(_ATTEMPT)) if newest is not None else None


def _told_at(event: Object) -> str:
    return str(event.get("deprecatedLastTimestamp") or event.get("eventTime") or "")


def _given_up(job: Object) -> Trouble | None:
    """Return that a Job has given up, when none of its pods is left to say why."""
    failed = condition_of(job, "Failed", status="True")
    if failed is None:
        return None
    if failed.get("reason") == "DeadlineExceeded":
        seconds = job["spec"].get("activeDeadlineSeconds", 0)
        return trouble("FetchTimeout", f"The weights did not come within {seconds} s")
    return trouble("FetchFailed", "Every try to fetch the weights failed")
