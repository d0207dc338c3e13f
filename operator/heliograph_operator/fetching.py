"""How far the Job is that fetches a model's weights, from the Job, its pods, and what its running pod answers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import aiohttp

from heliograph_api import naming
from heliograph_api.exits import FetchResult
from heliograph_operator.objects import condition_of
from heliograph_operator.plan.fetched import Fetched
from heliograph_operator.plan.fetcher import CONTAINER
from heliograph_operator.resources import JOBS, Object

_ANSWER_SECONDS = 2.0


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

    def __str__(self) -> str:
        """Return it for people, rounded so that it does not change with every look."""
        if not self.total:
            return f"{readable_size(self.done)} so far"
        share = f"{100 * self.done // self.total} % of {readable_size(self.total)}"
        if self.speed < 1:
            return share
        minutes = (self.total - self.done) / self.speed / 60
        return f"{share}, {'less than a minute' if minutes < 1 else f'about {minutes:.0f} min'} left"


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
            async with self._session.get(
                f"http://{host}:{naming.FETCHER_PORT}/progress", timeout=aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
            ) as response:
                answer: Mapping[str, Any] = await response.json()
                return FetchProgress(int(answer["done"]), answer["total"], float(answer["speed"]))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, TypeError, KeyError):
            return None  # it is no reason to fetch otherwise, and the next look is seconds away


def fetch_job(children: Iterable[Object], folder: str) -> Object | None:
    """Return the Job that fills `folder`, if it is there."""
    return next((it for it in children if it["kind"] == JOBS.kind and it["metadata"]["name"] == folder), None)


def has_succeeded(job: Object) -> bool:
    """Return whether a Job did what it is for."""
    return condition_of(job, "Complete", status="True") is not None


def failed_at(job: Object) -> datetime | None:
    """Return when a Job gave up; None when it has not."""
    condition = condition_of(job, "Failed", status="True")
    return datetime.fromisoformat(condition["lastTransitionTime"]) if condition else None


def fetched_by(folder: str, pods: Sequence[Object]) -> Fetched:
    """Return what a Job that succeeded has fetched into `folder`, as far as one of its pods still tells."""
    for pod in pods:
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
