"""Video jobs in the database.

A job is worked on by one gateway process at a time. That process holds a lease on it from the moment it creates or
starts it, and renews the lease while it works on it; when it dies, or has no time for it, the lease lapses, and the job
is `unfinished` for whoever asks next. Each start is an attempt with a number, and what an earlier attempt reports is
not taken any more.
"""

import re
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import ColumnElement, Executable, and_, case, delete, func, insert, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from heliograph_gateway.database import Database
from heliograph_gateway.jobs.job import JobsFullError, Page, VideoJob
from heliograph_gateway.tables import video_jobs

LEASE_SECONDS = 30.0
"""How long a lease lasts; its holder renews it about three times as often."""


_C = video_jobs.c
_FIELDS = tuple(_C[name] for name in VideoJob.__dataclass_fields__)
_UNENDED = _C.status.in_(("queued", "in_progress"))
_ID = re.compile(r"video_[0-9a-f]{32}")
_LONGEST_CODE = 64
_RELEASED = 0.0
"""A lease that its holder gave up."""


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
        most: int | None = None,
        most_of_owner: int | None = None,
        reserved_day: int | None = None,
    ) -> VideoJob:
        """Queue a job, leased by the caller, and return it.

        Args:
            owner: Who may see it.
            model: The model to run.
            request: Body of the request to the runtime, kept until the job ends.
            prompt: The prompt, to be shown.
            seconds: Length of the clip, to be shown.
            size: Size of the clip, to be shown.
            most: How many unended jobs there may be with it; any number when absent.
            most_of_owner: How many of them may be the owner's.
            reserved_day: The day that its clip is counted on, if it is.

        Raises:
            JobsFullError: There are more.
        """
        now = self._now()
        job = VideoJob(
            id=f"video_{secrets.token_hex(16)}",
            owner=owner,
            model=model,
            status="queued",
            progress=0,
            attempt=0,
            lapses=0,
            created_at=int(now),
            completed_at=None,
            expires_at=int(now) + self._ttl,
            prompt=_storable(prompt),
            seconds=seconds,
            size=size,
            error_code=None,
            error_message=None,
            file_id=None,
            waiting_since=None,
            reserved_day=reserved_day,
        )

        async def add(connection: AsyncConnection) -> None:
            count = select(func.count(), func.count(case((_C.owner == owner, 1)))).where(_UNENDED)
            ((total, owned),) = (await connection.execute(count)).all()
            if most_of_owner is not None and owned >= most_of_owner:
                raise JobsFullError(of_owner=True)
            if most is not None and total >= most:
                raise JobsFullError(of_owner=False)
            await connection.execute(
                insert(video_jobs).values(**vars(job), lease_until=now + LEASE_SECONDS, request=request)
            )

        await self._database.run(add, lock="video_jobs")
        return job

    async def get(self, owner: str, job_id: str) -> VideoJob | None:
        """Return an owner's job, or None if there is none of this id."""
        return _only(await self._select(_C.id == job_id, _C.owner == owner)) if _ID.fullmatch(job_id) else None

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
            query = select(_C.number).where(_C.owner == owner, _C.id == after)
            rows = await self._database.rows(query) if _ID.fullmatch(after) else ()
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
        # `release` says that an attempt was given up in good order.
        lapsed = and_(_C.status == "in_progress", _C.lease_until > _RELEASED)
        change = (
            update(video_jobs)
            .where(_C.id == job_id, free)
            .values(
                status="in_progress",
                progress=0,
                attempt=_C.attempt + 1,
                lapses=case((lapsed, _C.lapses + 1), else_=_C.lapses),
                lease_until=now + LEASE_SECONDS,
                started_at=now,
            )
            .returning(*_FIELDS)
        )
        return _only(await self._read(change))

    async def renew(self, attempts: Mapping[str, int]) -> None:
        """Renew the leases of the attempts, by the jobs' ids, that the caller works on."""
        await self._lease(_all_at_work(attempts), self._now() + LEASE_SECONDS)

    async def release(self, attempts: Mapping[str, int], *, made: Collection[str] = ()) -> None:
        """Give up leases, so that the next process need not wait for them to lapse.

        What another process has taken up by now stays its own.

        Args:
            attempts: The attempts, by the jobs' ids, that the caller worked on.
            made: Ids of the jobs that it made.
        """
        never_started = and_(_C.id.in_(made), _C.status == "queued", _C.attempt == 0)
        await self._lease(or_(_all_at_work(attempts), never_started), _RELEASED)

    async def put_back(self, job_id: str, attempt: int, *, seconds: float) -> None:
        """Queue an attempt's job again, to be started no sooner than some seconds from now."""
        now = self._now()
        change = (
            update(video_jobs)
            .where(_at_work(job_id, attempt))
            .values(
                status="queued",
                progress=0,
                lease_until=now + seconds,
                waiting_since=func.coalesce(_C.waiting_since, now),
            )
        )
        await self._database.change(change)

    def waited(self, job: VideoJob) -> float:
        """Return for how many seconds a job's model has been not ready or too busy."""
        return 0.0 if job.waiting_since is None else self._now() - job.waiting_since

    async def held(self, attempts: Mapping[str, int]) -> set[str]:
        """Return which of the attempts, by the jobs' ids, somebody still waits for."""
        query = select(_C.id, _C.attempt).where(_C.id.in_(attempts), _C.status == "in_progress")
        rows = await self._database.rows(query) if attempts else ()
        return {row.id for row in rows if attempts[row.id] == row.attempt}

    async def progress(self, job_id: str, attempt: int, percent: int) -> bool:
        """Record how far an attempt is; False means that nobody waits for it any more."""
        change = update(video_jobs).where(_at_work(job_id, attempt)).values(progress=percent, waiting_since=None)
        return await self._database.change(change) > 0

    async def complete(
        self, job_id: str, attempt: int, *, file_id: str, size: str | None = None, seconds: str | None = None
    ) -> bool:
        """Record what an attempt drew; False means that nobody waits for it any more.

        Args:
            job_id: The job.
            attempt: The attempt.
            file_id: The clip in the file store.
            size: Size of the clip as it was drawn; what was asked for stays when absent.
            seconds: Length of the clip, likewise.
        """
        shown = {name: value for name, value in (("size", size), ("seconds", seconds)) if value}
        return await self._end(
            job_id, attempt, status="completed", progress=100, file_id=file_id, completed=True, **shown
        )

    async def fail(self, job_id: str, attempt: int, *, code: str, message: str) -> bool:
        """Record why an attempt failed; False means that nobody waits for it any more."""
        code = (_storable(code) or "failed")[:_LONGEST_CODE]
        return await self._end(job_id, attempt, status="failed", error_code=code, error_message=_storable(message))

    async def delete(self, owner: str, job_id: str) -> VideoJob | None:
        """Delete an owner's job, at work or not, and return it as it was; None if there is none of this id."""
        change = delete(video_jobs).where(_C.id == job_id, _C.owner == owner).returning(*_FIELDS)
        return _only(await self._read(change)) if _ID.fullmatch(job_id) else None

    async def unfinished(self, *, also: Collection[str] = ()) -> list[VideoJob]:
        """Return the jobs that have not ended and that no process holds any more.

        Owners take turns: those come first whose owner has the fewest at work, at whichever gateway, and of these,
        whose owner's last start was longest ago; then those that have been free to start for longest. One that was
        put back so leaves room to its owner's jobs for other models.

        Args:
            also: Queued jobs that the caller holds.
        """
        now = self._now()
        at_work = case((and_(_C.status == "in_progress", _C.lease_until > now), 1))
        turns = (
            select(_C.owner, func.count(at_work).label("at_work"), func.max(_C.started_at).label("last"))
            .group_by(_C.owner)
            .subquery()
        )
        free = or_(_C.lease_until <= now, and_(_C.status == "queued", _C.id.in_(also)))
        since = case((_C.waiting_since.is_not(None), _C.lease_until), else_=_C.created_at)
        query = (
            select(*_FIELDS)
            .join_from(video_jobs, turns, turns.c.owner == _C.owner)
            .where(_UNENDED, free)
            .order_by(turns.c.at_work, func.coalesce(turns.c.last, 0.0), since, _C.number)
        )
        return await self._read(query)

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

    async def _lease(self, which: ColumnElement[bool], until: float) -> None:
        await self._database.change(update(video_jobs).where(which).values(lease_until=until))


def _at_work(job_id: str, attempt: int) -> ColumnElement[bool]:
    return and_(_C.id == job_id, _C.status == "in_progress", _C.attempt == attempt)


def _all_at_work(attempts: Mapping[str, int]) -> ColumnElement[bool]:
    return and_(_C.status == "in_progress", tuple_(_C.id, _C.attempt).in_(attempts.items()))


def _only(jobs: Sequence[VideoJob]) -> VideoJob | None:
    return jobs[0] if jobs else None


def _storable(text: str | None) -> str | None:
    """Return a text without the characters that no database of ours can keep."""
    return None if text is None else text.replace("\0", "").encode(errors="replace").decode()
