"""Video jobs in the database.

A job is worked on by one gateway process at a time. That process holds a lease on it from the moment it creates or
starts it, and renews the lease while it lives; when it dies, the lease lapses, and the job is `unfinished` for whoever
asks next. Each start is an attempt with a number, and what an earlier attempt reports is not taken any more.
"""

import secrets
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Executable, and_, delete, func, insert, or_, select, update

from heliograph_gateway.database import Database
from heliograph_gateway.tables import video_jobs

JobStatus = Literal["queued", "in_progress", "completed", "failed"]

LEASE_SECONDS = 30.0
"""How long a lease lasts; its holder renews it about three times as often."""


@dataclass(frozen=True)
class VideoJob:
    """A job as it was read; times are in seconds since 1970.

    Attributes:
        id: `video_` and 32 hexadecimal digits.
        owner: Who made it; empty where no key is asked for.
        model: The model, as the request spelled it.
        status: How far it is.
        progress: Percent that is done.
        attempt: How often it was started.
        created_at: When it was made.
        completed_at: When it was completed.
        expires_at: When it will be deleted; moved on when the job ends.
        prompt: The prompt, if there is one.
        seconds: Length of the clip, as OpenAI writes it.
        size: Size of the clip, WIDTHxHEIGHT.
        error_code: Machine-readable reason of a failure.
        error_message: What a person is told of it.
        file_id: The clip in the file store, once the job is completed.
    """

    id: str
    owner: str
    model: str
    status: JobStatus
    progress: int
    attempt: int
    created_at: int
    completed_at: int | None
    expires_at: int
    prompt: str | None
    seconds: str | None
    size: str | None
    error_code: str | None
    error_message: str | None
    file_id: str | None


@dataclass(frozen=True)
class Page:
    """Some of an owner's jobs.

    Attributes:
        jobs: The jobs, in the order that was asked for.
        has_more: Whether there are more after them.
    """

    jobs: tuple[VideoJob, ...]
    has_more: bool


_C = video_jobs.c
_FIELDS = tuple(_C[name] for name in VideoJob.__dataclass_fields__)
_UNENDED = _C.status.in_(("queued", "in_progress"))


class VideoJobs:
    """The jobs of all owners."""

    def __init__(self, database: Database, *, ttl: int, now: Callable[[], float] = time.time) -> None:
        """Keep the jobs in `database`, each for `ttl` seconds after its end."""
        self._database = database
        self._ttl = ttl
        self._now = now

    async def create(
        self,
        *,
        owner: str,
        model: str,
        request: bytes,
        prompt: str | None = None,
        seconds: str | None = None,
        size: str | None = None,
    ) -> VideoJob:
        """Queue a job, leased by the caller, and return it.

        Args:
            owner: Who may see it.
            model: The model to run.
            request: Body of the request to the runtime, kept until the job ends.
            prompt: The prompt, to be shown.
            seconds: Length of the clip, to be shown.
            size: Size of the clip, to be shown.
        """
        now = self._now()
        job = VideoJob(
            id=f"video_{secrets.token_hex(16)}",
            owner=owner,
            model=model,
            status="queued",
            progress=0,
            attempt=0,
            created_at=int(now),
            completed_at=None,
            expires_at=int(now) + self._ttl,
            prompt=prompt,
            seconds=seconds,
            size=size,
            error_code=None,
            error_message=None,
            file_id=None,
        )
        await self._database.change(
            insert(video_jobs).values(**vars(job), lease_until=now + LEASE_SECONDS, request=request)
        )
        return job

    async def get(self, owner: str, job_id: str) -> VideoJob | None:
        """Return an owner's job, or None if there is none of this id."""
        return _only(await self._select(_C.id == job_id, _C.owner == owner))

    async def page(
        self, owner: str, *, after: str | None = None, limit: int = 20, order: Literal["asc", "desc"] = "desc"
    ) -> Page:
        """Return a page of an owner's jobs by age, as OpenAI's lists do.

        Args:
            owner: Whose jobs.
            after: Id of the last job of the page before.
            limit: Most jobs to return.
            order: Newest first (`desc`) or oldest first.

        Raises:
            LookupError: `after` is no job of this owner.
        """
        conditions = [_C.owner == owner]
        if after is not None:
            rows = await self._database.rows(select(_C.number).where(_C.owner == owner, _C.id == after))
            if not rows:
                raise LookupError(after)
            last = rows[0].number
            conditions.append(_C.number > last if order == "asc" else _C.number < last)
        found = await self._select(*conditions, newest_first=order == "desc", limit=limit + 1)
        return Page(tuple(found[:limit]), has_more=len(found) > limit)

    async def request(self, job_id: str) -> bytes | None:
        """Return the body to send to the runtime; None once the job has ended."""
        rows = await self._database.rows(select(_C.request).where(_C.id == job_id))
        return rows[0].request if rows else None

    async def start(self, job_id: str) -> VideoJob | None:
        """Begin the next attempt at a job that is queued, or whose lease has lapsed, and return it.

        None means that there is nothing to do: the job has ended, was deleted, or is at work elsewhere.
        """
        now = self._now()
        free = or_(_C.status == "queued", and_(_C.status == "in_progress", _C.lease_until <= now))
        change = (
            update(video_jobs)
            .where(_C.id == job_id, free)
            .values(status="in_progress", progress=0, attempt=_C.attempt + 1, lease_until=now + LEASE_SECONDS)
            .returning(*_FIELDS)
        )
        return _only(await self._read(change))

    async def renew(self, job_ids: Collection[str]) -> None:
        """Renew the leases of jobs that the caller holds."""
        await self._lease(job_ids, self._now() + LEASE_SECONDS)

    async def release(self, job_ids: Collection[str]) -> None:
        """Give up the leases of jobs, so that the next process need not wait for them to lapse."""
        await self._lease(job_ids, 0.0)

    async def progress(self, job_id: str, attempt: int, percent: int) -> bool:
        """Record how far an attempt is; False means that nobody waits for it any more."""
        change = update(video_jobs).where(_at_work(job_id, attempt)).values(progress=percent)
        return await self._database.change(change) > 0

    async def complete(self, job_id: str, attempt: int, *, file_id: str) -> bool:
        """Record what an attempt drew; False means that nobody waits for it any more."""
        return await self._end(job_id, attempt, status="completed", progress=100, file_id=file_id, completed=True)

    async def fail(self, job_id: str, attempt: int, *, code: str, message: str) -> bool:
        """Record why an attempt failed; False means that nobody waits for it any more."""
        return await self._end(job_id, attempt, status="failed", error_code=code, error_message=message)

    async def delete(self, owner: str, job_id: str) -> VideoJob | None:
        """Delete an owner's job, at work or not, and return it as it was; None if there is none of this id."""
        change = delete(video_jobs).where(_C.id == job_id, _C.owner == owner).returning(*_FIELDS)
        return _only(await self._read(change))

    async def unfinished(self) -> list[VideoJob]:
        """Return the jobs that have not ended and that no process holds any more, the oldest first."""
        return await self._select(_UNENDED, _C.lease_until <= self._now())

    async def count_unfinished(self) -> int:
        """Return the number of jobs that have not ended, held or not."""
        ((count,),) = await self._database.rows(select(func.count()).select_from(video_jobs).where(_UNENDED))
        return int(count)

    async def delete_expired(self) -> int:
        """Delete the jobs whose time is over, and return how many they were."""
        return await self._database.change(delete(video_jobs).where(_C.expires_at <= int(self._now())))

    async def _select(
        self, *conditions: ColumnElement[bool], newest_first: bool = False, limit: int | None = None
    ) -> list[VideoJob]:
        order = _C.number.desc() if newest_first else _C.number.asc()
        return await self._read(select(*_FIELDS).where(*conditions).order_by(order).limit(limit))

    async def _read(self, statement: Executable) -> list[VideoJob]:
        return [VideoJob(*row) for row in await self._database.rows(statement)]

    async def _end(self, job_id: str, attempt: int, *, completed: bool = False, **values: Any) -> bool:
        now = int(self._now())
        change = (
            update(video_jobs)
            .where(_at_work(job_id, attempt))
            .values(expires_at=now + self._ttl, completed_at=now if completed else None, request=None, **values)
        )
        return await self._database.change(change) > 0

    async def _lease(self, job_ids: Collection[str], until: float) -> None:
        await self._database.change(update(video_jobs).where(_C.id.in_(job_ids), _UNENDED).values(lease_until=until))


def _at_work(job_id: str, attempt: int) -> ColumnElement[bool]:
    return and_(_C.id == job_id, _C.status == "in_progress", _C.attempt == attempt)


def _only(jobs: Sequence[VideoJob]) -> VideoJob | None:
    return jobs[0] if jobs else None
