"""Reads what children and pods there are of an ImageModel, and has them tell what is wrong."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from heliograph_api import naming
from heliograph_operator.diagnosis.fetching import fetch_trouble, unmade_trouble
from heliograph_operator.diagnosis.mounting import MOUNT_SECONDS, is_mounting, mounting_trouble
from heliograph_operator.diagnosis.runtime import runtime_trouble
from heliograph_operator.diagnosis.trouble import Trouble
from heliograph_operator.fetching import AsksProgress, FetchProgress, failed_at, running
from heliograph_operator.kube import KubeApi
from heliograph_operator.observation import Rollout
from heliograph_operator.resources import EVENTS, PODS, Object, Resource

LOOK_SECONDS = 5.0
"""Between two looks at what no event tells of, such as how far a fetch is."""


@dataclass
class Diagnosis:
    """What is in the way, and how far the weights are; see `Observation`."""

    trouble: Trouble | None = None
    fetch_trouble: Trouble | None = None
    progress: FetchProgress | None = None
    again: float | None = None


class Examiner:
    """Looks at one ImageModel's pods."""

    def __init__(
        self, *, kube: KubeApi, progress: AsksProgress, retry_seconds: float, clock: Callable[[], datetime]
    ) -> None:
        """Read through `kube` and ask fetchers by `progress`; a fetch that failed is tried anew in `retry_seconds`."""
        self._kube = kube
        self._progress = progress
        self._retry_seconds = retry_seconds
        self._clock = clock

    async def children(self, obj: Object, resources: Iterable[Resource]) -> list[Object]:
        """Return what bears the labels of the model's children, whosever it is."""
        metadata = obj["metadata"]
        labels = {
            naming.MANAGED_BY_LABEL: naming.MANAGED_BY,
            naming.MODEL_LABEL: naming.child_name(metadata["name"]),
        }
        namespace = metadata["namespace"]
        found = await asyncio.gather(*(self._kube.list(resource, namespace, labels=labels) for resource in resources))
        return [child for children in found for child in children]

    async def pods(self, obj: Object) -> tuple[list[Object], list[Object]]:
        """Return the pods that fetch the weights, and those that serve."""
        pods = await self.children(obj, [PODS])
        fetchers = [pod for pod in pods if pod["metadata"]["labels"].get(naming.COMPONENT_LABEL) == "fetcher"]
        return fetchers, [pod for pod in pods if pod not in fetchers]

    async def diagnose(self, obj: Object, *, deployment: Object | None, job: Object | None) -> Diagnosis:
        """Return what is in the way of replicas and of weights, and how far these are.

        Pods are read only while something is under way, so that rest costs no request.
        """
        complete = deployment is not None and Rollout.of(deployment).is_complete
        if complete and job is None:
            return Diagnosis()
        now = self._clock()
        fetchers, runtimes = await self.pods(obj)
        diagnosis = Diagnosis()
        if deployment is not None:
            diagnosis.trouble = self.trouble(deployment, runtimes)
        if any(map(is_mounting, [*runtimes, *fetchers])):
            diagnosis.again = MOUNT_SECONDS
        if job is None:
            return diagnosis
        diagnosis.fetch_trouble = fetch_trouble(job, fetchers) or mounting_trouble(fetchers, now=now)
        if (seconds := self.retry_seconds(job)) is not None:
            diagnosis.again = seconds
        elif not fetchers:
            diagnosis.fetch_trouble = await self._unmade_trouble(job, now)
            diagnosis.again = LOOK_SECONDS
        if pod := running(fetchers):
            diagnosis.progress = await self._progress.ask(pod)
            diagnosis.again = LOOK_SECONDS
        return diagnosis

    def trouble(self, deployment: Object, runtimes: Iterable[Object]) -> Trouble | None:
        """Return what keeps replicas from getting ready; `runtimes` are the Deployment's pods."""
        pods = list(runtimes)
        return runtime_trouble(deployment, pods) or mounting_trouble(pods, now=self._clock())

    async def _unmade_trouble(self, job: Object, now: datetime) -> Trouble | None:
        """Return why a Job has no pod, once it has had the time for one: to look through Events is dear."""
        metadata = job["metadata"]
        age = now - datetime.fromisoformat(metadata["creationTimestamp"])
        if age.total_seconds() < LOOK_SECONDS:
            return None
        about = {"regarding.uid": metadata["uid"]}
        return unmade_trouble(await self._kube.list(EVENTS, metadata["namespace"], fields=about))

    def retry_seconds(self, job: Object) -> float | None:
        """Return the seconds until a Job that gave up is to be made anew; None for one that has not."""
        failed = failed_at(job)
        if failed is None:
            return None
        return max(0.0, self._retry_seconds - (self._clock() - failed).total_seconds())
