"""How far the Job is that fetches a model's weights, from the Job, its pods, and what its running pod answers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Protocol

import aiohttp
from pydantic import BaseModel, ConfigDict, Field

from heliograph_api import naming
from heliograph_api.exits import FetchResult
from heliograph_operator.objects import condition_of
from heliograph_operator.ownership import controller_of
from heliograph_operator.plan.fetched import Fetched
from heliograph_operator.plan.fetcher import CONTAINER
from heliograph_operator.resources import JOBS, Object

_ANSWER_SECONDS = 2.0
_MOST_BYTES = 4096


@dataclass(frozen=True)
class FetchProgress:
    """How far a fetch is.

    Attributes:
        done: Bytes that are there.
        total: Bytes of all files; None while some source has not told.
        speed: Bytes in a second, lately.
    """

    done: int
    total: int | None
    speed: float

    @property
    def percent(self) -> int | None:
        """Return how much is there, 0 to 100, rounded down; None while the whole is not known."""
        return min(100, 100 * self.done // self.total) if self.total else None

    def __str__(self) -> str:
        """Return it for people, rounded so that it does not change with every look."""
        if not self.total:
            return f"{readable_size(self.done)} so far"
        share = f"{self.percent} % of {readable_size(self.total)}"
        if self.speed < 1:
            return share
        minutes = (self.total - self.done) / self.speed / 60
        return f"{share}, {'less than a minute' if minutes < 1 else f'about {minutes:.0f} min'} left"


class _Answer(BaseModel):
    """What a fetcher answers; see `FetchProgress`."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    done: Annotated[int, Field(ge=0)]
    total: Annotated[int, Field(ge=0)] | None
    speed: Annotated[float, Field(ge=0)]

    def progress(self) -> FetchProgress:
        return FetchProgress(self.done, self.total, self.speed)


class AsksProgress(Protocol):
    """Asks a fetcher how far it is."""

    async def ask(self, pod: Object) -> FetchProgress | None:
        """Return what the pod answers, or None when it does not."""


class ProgressClient:
    """`AsksProgress` over HTTP."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        """Ask through `session`."""
        self._session = session

    async def ask(self, pod: Object) -> FetchProgress | None:
        """Return what the pod answers, or None when it does not."""
        address = (pod.get("status") or {}).get("podIP")
        if not address:
            return None
        host = f"[{address}]" if ":" in address else address
        try:
            # Any pod with the labels of a fetcher is asked, so that nothing is expected of the answer.
            async with self._session.get(
                f"http://{host}:{naming.FETCHER_PORT}/progress",
                timeout=aiohttp.ClientTimeout(total=_ANSWER_SECONDS),
                allow_redirects=False,
            ) as response:
                if (response.content_length or _MOST_BYTES) >= _MOST_BYTES:
                    return None
                return _Answer.model_validate_json(await response.read()).progress()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return None  # it is no reason to fetch otherwise, and the next look is seconds away


def fetch_job(children: Iterable[Object], folder: str, claim: str) -> Object | None:
    """Return the Job that fills `folder` of a claim, if it is there: another cache has the same folder elsewhere."""
    named = (it for it in children if it["kind"] == JOBS.kind and it["metadata"]["name"] == folder)
    return next((job for job in named if mounts(job["spec"]["template"]["spec"], claim)), None)


def mounts(pod: Mapping[str, Any], claim: str) -> set[str]:
    """Return the names of the volumes of a pod's spec that are a claim."""
    claims = {it["name"]: it.get("persistentVolumeClaim") or {} for it in pod.get("volumes") or ()}
    return {name for name, source in claims.items() if source.get("claimName") == claim}


def mounted_folders(pods: Iterable[Object], claim: str) -> set[str]:
    """Return the folders of weights in a claim that pods mount."""
    return {
        str(mount["subPath"]).removeprefix("models/")
        for pod in pods
        for container in pod["spec"]["containers"]
        for mount in container.get("volumeMounts") or ()
        if mount["name"] in mounts(pod["spec"], claim) and "subPath" in mount
    }


def has_filled(job: Object, claim: Object) -> bool:
    """Return whether a Job did its work in a claim as it is there, and not in one that bore the name before."""
    condition = condition_of(job, "Complete", status="True")
    if condition is None:
        return False
    ended, made = condition["lastTransitionTime"], claim["metadata"]["creationTimestamp"]
    return datetime.fromisoformat(ended) >= datetime.fromisoformat(made)


def has_succeeded(job: Object) -> bool:
    """Return whether a Job did what it is for."""
    return condition_of(job, "Complete", status="True") is not None


def failed_at(job: Object) -> datetime | None:
    """Return when a Job gave up; None when it has not."""
    condition = condition_of(job, "Failed", status="True")
    return datetime.fromisoformat(condition["lastTransitionTime"]) if condition else None


def fetched_by(job: Object, pods: Iterable[Object]) -> Fetched:
    """Return what a Job that succeeded has fetched, as far as one of its pods still tells.

    Args:
        job: The Job, which is called like the folder.
        pods: What fetches for the model, among it what is left of other Jobs.
    """
    folder, uid = job["metadata"]["name"], job["metadata"]["uid"]
    for pod in pods:
        if (controller_of(pod) or {}).get("uid") != uid:
            continue
        for status in (pod.get("status") or {}).get("containerStatuses") or ():
            ended = (status.get("state") or {}).get("terminated")
            result = FetchResult.read(ended.get("message", "")) if ended and status["name"] == CONTAINER else None
            if result is not None and result.reason == "Fetched":
                return Fetched(folder, result.bytes, result.sha256, result.revisions)
    return Fetched(folder)


def running(pods: Sequence[Object]) -> Object | None:
    """Return the pod that fetches now."""
    return next((pod for pod in pods if (pod.get("status") or {}).get("phase") == "Running"), None)


def readable_size(count: int) -> str:
    """Return a number of bytes for people."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
