"""Why weights are not fetched, from the Job that fetches them and its pods."""

from collections.abc import Iterable

from heliograph_operator.diagnosis.pods import pod_trouble
from heliograph_operator.diagnosis.trouble import Trouble, trouble
from heliograph_operator.objects import condition_of
from heliograph_operator.resources import Object


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


def _given_up(job: Object) -> Trouble | None:
    """Return that a Job has given up, when none of its pods is left to say why."""
    failed = condition_of(job, "Failed", status="True")
    if failed is None:
        return None
    if failed.get("reason") == "DeadlineExceeded":
        seconds = job["spec"].get("activeDeadlineSeconds", 0)
        return trouble("FetchTimeout", f"The weights did not come within {seconds} s")
    return trouble("FetchFailed", "Every try to fetch the weights failed")
