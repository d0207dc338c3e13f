"""Works on video jobs in the background, so that they outlive the request that made them and this process too."""

import asyncio
import base64
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from heliograph_api.errors import APIError
from heliograph_api.tracing import root_span
from heliograph_api.usage import Usage
from heliograph_gateway.answers import Share
from heliograph_gateway.body import Body
from heliograph_gateway.cancelling import is_set_within
from heliograph_gateway.database import StateUnavailableError
from heliograph_gateway.health import Health
from heliograph_gateway.jobs.job import VideoJob
from heliograph_gateway.jobs.repository import LEASE_SECONDS
from heliograph_gateway.models.loading import Loader
from heliograph_gateway.names import Route
from heliograph_gateway.proxy import Upstream
from heliograph_gateway.refusals import not_ready
from heliograph_gateway.replicas import Order
from heliograph_gateway.settings import GatewaySettings
from heliograph_gateway.state import State
from heliograph_gateway.usage.meter import Meter
from heliograph_gateway.usage.reading import read_usage
from heliograph_gateway.videos.progress import Clip, read_progress

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

logger = logging.getLogger(__name__)

T = TypeVar("T")

_KEEP_SECONDS = LEASE_SECONDS / 3
_LOOK_SECONDS = 2.0
"""How often a gateway looks for jobs that others made or left, and for those of its own that were deleted elsewhere."""
_SYNC_SECONDS = 0.2
_LONGEST_PAUSE = 30.0
_BUSY = (429, 503)
_UNKNOWN_SECONDS = 10.0
"""Pause of a job whose model is not known here."""
_MOST_LAPSES = 3
"""How many attempts may end with their gateway: what a job asks for may be what ends it."""
_MOST_TOLD = 16
"""Characters of what a runtime tells of a clip."""
_REMEDY = "ask for a shorter or smaller clip"
"""What to do about a clip that the gateway cannot keep."""
_STORING_SECONDS = 5.0
"""How long a gateway that ends waits for clips to be stored; `heliograph serve` gives it 20 s for everything."""
_PAUSES = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)
"""Seconds between the tries to keep what took long to draw, while the database or the bucket is away."""


class _Drawn(NamedTuple):
    """The entry of a clip, the model that drew it, and what it took."""

    entry: Mapping[str, Any]
    route: Route
    usage: Usage


class VideoRunner:
    """Has the runtimes draw what is queued, some jobs at a time; the others wait in the database."""

    def __init__(
        self,
        upstream: Upstream,
        state: State,
        settings: GatewaySettings,
        health: Health,
        *,
        loader: Loader,
        meter: Meter,
        tracer: "Tracer | None" = None,
    ) -> None:
        """Prepare to work; `start` begins."""
        self._loader = loader
        self._meter = meter
        self._tracer = tracer
        self._health = health
        self._upstream = upstream
        self._state = state
        self._ttl = settings.video_ttl_seconds
        self._wait_seconds = settings.video_wait_seconds
        self._most = settings.max_running_video_jobs
        self._running: dict[str, tuple[VideoJob, asyncio.Task[None]]] = {}
        self._drawing: dict[str, int] = {}
        self._made_here: set[str] = set()
        self._news = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._starting: asyncio.Task[VideoJob | None] | None = None

    def start(self) -> None:
        """Take up the jobs that wait or that another process left, now and from time to time."""
        self._keeper = asyncio.create_task(self._keep(), name="video jobs")

    async def aclose(self) -> None:
        """Stop drawing, have clips that are drawn stored, and leave the unfinished jobs to the next process."""
        left = self._attempts()
        if self._keeper:
            await _stopped(self._keeper)
        await _stopped(*(self._running[job_id][1] for job_id in self._drawing))
        if storing := [task for _, task in self._running.values()]:
            await asyncio.wait(storing, timeout=_STORING_SECONDS)
            await _stopped(*storing)
        if self._starting:
            # The keeper may have been stopped while it waited for this, and the job be at work all the same.
            (started,) = await asyncio.gather(self._starting, return_exceptions=True)
            if isinstance(started, VideoJob):
                left[started.id] = started.attempt
        try:
            await self._state.jobs.release(left, made=self._made_here)
        except APIError as error:
            # Then the leases lapse by themselves.
            logger.warning("video jobs could not be given back: %s", error.message)

    def submit(self, job: VideoJob) -> None:
        """Work on a new job that this process made, as soon as it is its turn."""
        self._made_here.add(job.id)
        self._news.set()

    async def cancel(self, job_id: str) -> None:
        """Stop drawing a job, if this process does, which stops the runtime at its next step.

        One whose clip is being stored is not cut off, which would leave the file: it finds out in the end that nobody
        waits for it, and deletes the file.
        """
        if job_id in self._drawing:
            await _stopped(self._running[job_id][1])

    async def _keep(self) -> None:
        """Renew the leases of the jobs at work, take up others, and stop those that nobody waits for any more."""
        renewed = 0.0
        while True:
            self._news.clear()
            now = asyncio.get_running_loop().time()
            try:
                if now >= renewed + _KEEP_SECONDS:
                    await self._state.jobs.renew(self._attempts())
                    renewed = now
                await self._stop_lost()
                await self._take_up()
            except APIError as error:
                # The database may be away for a while.
                logger.warning("video jobs could not be looked after: %s", error.message)
            except Exception:
                logger.exception("video jobs could not be looked after")
            await is_set_within(self._news, _LOOK_SECONDS if self._health.synced else _SYNC_SECONDS)

    async def _stop_lost(self) -> None:
        """Stop the jobs that were deleted, or that another gateway has taken up, since this one was away too long."""
        drawing = dict(self._drawing)
        for job_id in drawing.keys() - await self._state.jobs.held(drawing):
            if self._drawing.get(job_id) == drawing[job_id]:
                await self.cancel(job_id)

    async def _take_up(self) -> None:
        """Start as many jobs as there is room for."""
        missed: set[str] = set()
        # Before the models are known, every job would fail for want of one.
        while self._health.synced and not self._health.draining and len(self._running) < self._most:
            made_here = frozenset(self._made_here)
            waiting = await self._state.jobs.unfinished(also=made_here)
            # Not those that were made meanwhile: nobody would take them up before their lease lapses.
            self._made_here -= made_here.difference(job.id for job in waiting)
            chosen = next((job for job in waiting if job.id not in missed and self._may_run(job)), None)
            if chosen is None:
                return
            # What the database has begun it ends, so `aclose` has to learn of it.
            self._starting = asyncio.create_task(self._state.jobs.start(chosen.id), name=f"start of {chosen.id}")
            job = await asyncio.shield(self._starting)
            if job is None:
                # Another gateway was faster.
                missed.add(chosen.id)
                continue
            self._made_here.discard(job.id)
            task = asyncio.create_task(self._work(job), name=job.id)
            self._running[job.id] = job, task
            # From now on, and not from its first step: it may be stopped before that.
            self._drawing[job.id] = job.attempt
            task.add_done_callback(partial(self._forget, job.id))

    def _may_run(self, job: VideoJob) -> bool:
        """Return whether a job of this owner and model can be started: a model that is not ready leaves others room."""
        alike = sum((other.owner, other.model) == (job.owner, job.model) for other, _ in self._running.values())
        return job.id not in self._running and alike < max(1, self._most // 2)

    def _attempts(self) -> dict[str, int]:
        return {job.id: job.attempt for job, _ in self._running.values()}

    def _forget(self, job_id: str, _task: asyncio.Task[None]) -> None:
        self._running.pop(job_id, None)
        self._drawing.pop(job_id, None)
        self._news.set()

    async def _work(self, job: VideoJob) -> None:
        try:
            # A clip counts until it is stored.
            with contextlib.closing(self._upstream.answers.share(remedy=_REMEDY)) as share:
                try:
                    drawn = await self._drawn(job, share)
                finally:
                    del self._drawing[job.id]
                if drawn is not None:
                    await self._keep_clip(job, drawn)
        except StateUnavailableError as error:
            logger.warning("video job %s is left to be taken up again: %s", job.id, error.message)
        except APIError as error:
            await self._fail(job, code=error.code or "failed", message=error.message)
        except Exception:
            logger.exception("video job %s failed", job.id)
            await self._fail(job, code="internal_error", message="Something went wrong inside the gateway.")

    async def _keep_clip(self, job: VideoJob, drawn: _Drawn) -> None:
        entry = drawn.entry
        content = await asyncio.to_thread(base64.b64decode, entry["b64_json"])
        kept = partial(self._state.files.put, content, media_type=entry["mime_type"], owner=job.owner, ttl=self._ttl)
        stored = await _insisting(kept)
        # A runtime of the previous version does not tell of them, and a text without bounds is none of ours.
        told = {name: entry.get(name) for name in ("size", "seconds")}
        drawn_as = {name: text for name, text in told.items() if isinstance(text, str) and len(text) <= _MOST_TOLD}
        if await _insisting(partial(self._state.jobs.complete, job.id, job.attempt, file_id=stored.id, **drawn_as)):
            self._meter.count(job.owner, drawn.route, drawn.usage)
        else:
            await self._state.files.delete(stored.id)

    async def _fail(self, job: VideoJob, *, code: str, message: str) -> None:
        try:
            is_ended = await _insisting(partial(self._state.jobs.fail, job.id, job.attempt, code=code, message=message))
            if is_ended and job.reserved_day is not None:
                await self._state.quotas.give_back(job.owner, job.reserved_day, 1)
        except APIError as error:
            logger.warning("video job %s is left to be taken up again: %s", job.id, error.message)

    async def _drawn(self, job: VideoJob, share: Share) -> _Drawn | None:
        """Return the clip; None when the job was deleted, or put back since its model is not there or too busy."""
        if job.lapses >= _MOST_LAPSES:
            raise _abandoned(job)
        content = await self._state.jobs.request(job.id)
        if content is None:
            return None
        try:
            # While the job waits for room at a replica, pictures in it are in a file.
            with contextlib.closing(Body(self._state.bodies)) as body:
                await body.append(content)
                await body.end()
                del content
                with root_span(self._tracer, "video job", {"heliograph.video_id": job.id}):
                    return await self._draw(job, body, share)
        except StateUnavailableError:
            raise
        except APIError as error:
            pause = _pause(error)
            if not pause or self._state.jobs.waited(job) + pause > self._wait_seconds:
                raise
        await self._state.jobs.put_back(job.id, job.attempt, seconds=pause)
        return None

    async def _draw(self, job: VideoJob, body: Body, share: Share) -> _Drawn | None:
        # The name may lead to another model by now.
        route = self._upstream.routes.resolve(job.model, self._state.keyring.caller(job.owner))
        # A job waits in the database for a model that starts: there are few places to work on jobs.
        route = await self._loader.prewarm(route)
        if not self._upstream.routes.is_ready(route):
            raise not_ready(route)
        order = Order("/video", body, {"content-type": "application/json"}, job.id, owner=job.owner, stream=True)
        percent = 0
        told = [Usage()]
        async with self._upstream.answer(route, order) as answer:
            async for found in read_progress(read_usage(answer.headers, answer.parts, told.append), share):
                if isinstance(found, Clip):
                    return _Drawn(found.entry, route, told[-1])
                if found > percent:
                    percent = found
                    if not await self._told(job, percent):
                        return None
        return None

    async def _told(self, job: VideoJob, percent: int) -> bool:
        """Record how far a job is; return False when nobody waits for it."""
        try:
            return await self._state.jobs.progress(job.id, job.attempt, percent)
        except StateUnavailableError:
            # It is drawn all the same, and told of later.
            return True


def _pause(error: APIError) -> float:
    """Return for how many seconds a job is put back that came to this error; 0 when the error is its end."""
    if error.code == "model_not_found":
        # `heliograph serve` may be started with other models this time, or a model be made anew.
        return _UNKNOWN_SECONDS
    is_drawn = error.headers.get("x-should-retry") == "false"
    if error.status not in _BUSY or is_drawn:
        return 0.0
    return min(float(error.headers.get("Retry-After", error.headers.get("retry-after", 0))), _LONGEST_PAUSE)


def _abandoned(job: VideoJob) -> APIError:
    return APIError(
        500,
        f"The gateway that worked on this job stopped {job.lapses} times before it was done, so it is not tried again; "
        "if shorter or smaller clips are made, make this one so, else look for the cause in the gateway's log.",
        code="gateway_stopped",
    )


async def _insisting(call: Callable[[], Awaitable[T]]) -> T:
    """Return what a call returns; as long as it says 503, make it again after a while, a number of times."""
    for pause in _PAUSES:
        try:
            return await call()
        except APIError as error:
            if error.status != HTTPStatus.SERVICE_UNAVAILABLE:
                raise
        await asyncio.sleep(pause)
    return await call()


async def _stopped(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
