"""Works on video jobs in the background, so that they outlive the request that made them and this process too."""

import asyncio
import base64
import logging

from heliograph_api.errors import APIError
from heliograph_gateway.health import Health
from heliograph_gateway.jobs.repository import LEASE_SECONDS, VideoJob
from heliograph_gateway.proxy import Order, Upstream
from heliograph_gateway.settings import GatewaySettings
from heliograph_gateway.state import State
from heliograph_gateway.videos.progress import Clip, read_progress

logger = logging.getLogger(__name__)

_KEEP_SECONDS = LEASE_SECONDS / 3
_LONGEST_PAUSE = 30.0
_SYNC_SECONDS = 0.2
_BUSY = (429, 503)


class VideoRunner:
    """Has the runtimes draw what is queued; one task for each job of this process."""

    def __init__(self, upstream: Upstream, state: State, settings: GatewaySettings, health: Health) -> None:
        """Prepare to work; `start` begins."""
        self._health = health
        self._upstream = upstream
        self._state = state
        self._ttl = settings.video_ttl_seconds
        self._wait_seconds = settings.video_wait_seconds
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._keeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Take up the jobs that another process left, now and from time to time."""
        self._keeper = asyncio.create_task(self._keep(), name="video jobs")

    async def aclose(self) -> None:
        """Stop working and leave the unfinished jobs to the next process."""
        tasks = [task for task in (self._keeper, *self._tasks.values()) if task]
        held = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._state.jobs.release(held)

    def submit(self, job: VideoJob) -> None:
        """Work on a job that this process holds."""
        task = asyncio.create_task(self._work(job), name=job.id)
        self._tasks[job.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(job.id, None))

    async def cancel(self, job_id: str) -> None:
        """Stop working on a job, which stops the runtime at its next step."""
        if task := self._tasks.get(job_id):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep(self) -> None:
        """Renew the leases of the jobs at work, and take up those that nobody holds."""
        while True:
            try:
                await self._state.jobs.renew(list(self._tasks))
                # Before the models are known, every job would fail for want of one.
                for job in await self._state.jobs.unfinished() if self._health.synced else ():
                    if job.id not in self._tasks:
                        logger.info("video job %s is taken up again", job.id)
                        self.submit(job)
            except Exception:
                # The database may be away for a while.
                logger.exception("video jobs could not be looked after")
            await asyncio.sleep(_KEEP_SECONDS if self._health.synced else _SYNC_SECONDS)

    async def _work(self, waiting: VideoJob) -> None:
        job = await self._state.jobs.start(waiting.id)
        body = await self._state.jobs.request(waiting.id) if job else None
        if job is None or body is None:
            return
        try:
            clip = await self._drawn(job, body)
            if clip is None:
                return
            content = await asyncio.to_thread(base64.b64decode, clip.entry["b64_json"])
            stored = await self._state.files.put(
                content, media_type=clip.entry["mime_type"], owner=job.owner, ttl=self._ttl
            )
            if not await self._state.jobs.complete(job.id, job.attempt, file_id=stored.id):
                await self._state.files.delete(stored.id)
        except APIError as error:
            await self._state.jobs.fail(job.id, job.attempt, code=error.code or "failed", message=error.message)
        except Exception:
            logger.exception("video job %s failed", job.id)
            await self._state.jobs.fail(
                job.id, job.attempt, code="internal_error", message="Something went wrong inside the gateway."
            )

    async def _drawn(self, job: VideoJob, body: bytes) -> Clip | None:
        """Return the clip, or None when the job was deleted; wait while the model is cold or has too much to do."""
        deadline = asyncio.get_running_loop().time() + self._wait_seconds
        while True:
            try:
                return await self._draw(job, body)
            except APIError as error:
                pause = min(
                    float(error.headers.get("Retry-After", error.headers.get("retry-after", 0))), _LONGEST_PAUSE
                )
                if error.status not in _BUSY or not pause or asyncio.get_running_loop().time() + pause > deadline:
                    raise
            await asyncio.sleep(pause)

    async def _draw(self, job: VideoJob, body: bytes) -> Clip | None:
        route = self._upstream.routes.resolve(job.model)
        order = Order("/video", body, {"content-type": "application/json"}, job.id)
        percent = 0
        async with self._upstream.answer(route, order) as answer:
            async for found in read_progress(answer.aiter_raw()):
                if isinstance(found, Clip):
                    return found
                if found > percent:
                    percent = found
                    if not await self._state.jobs.progress(job.id, job.attempt, percent):
                        return None
        return None
