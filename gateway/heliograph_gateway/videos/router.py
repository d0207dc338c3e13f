"""POST, GET and DELETE of /v1/videos, as OpenAI's clients know them."""

import asyncio
import contextlib
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from heliograph_api.errors import APIError, invalid_request
from heliograph_api.images.fields import STREAM_OPTIONS
from heliograph_api.images.paths import VIDEO_PATH
from heliograph_gateway.auth import owner_of
from heliograph_gateway.body import IN_MEMORY
from heliograph_gateway.files.router import file_response
from heliograph_gateway.images.asking import admit, fetched_inputs, inlined_body, read_request
from heliograph_gateway.jobs.job import JobsFullError, VideoJob
from heliograph_gateway.keys.caller import caller_of
from heliograph_gateway.proxy import Upstream
from heliograph_gateway.settings import GatewaySettings
from heliograph_gateway.state import State
from heliograph_gateway.videos.runner import VideoRunner

PATHS = ("/v1/videos", "/videos")
_POLL_HEADER = {"openai-poll-after-ms": "1000"}
# What a job is answered with is not the caller's to choose.
_ANSWER_FIELDS = {
    "stream", "stream_options", "partial_images", "response_format", "output_format", "background",
    *(f"stream_options_{option}" for option in STREAM_OPTIONS),
}  # fmt: skip


class Videos:
    """The endpoints."""

    def __init__(self, *, upstream: Upstream, state: State, runner: VideoRunner, settings: GatewaySettings) -> None:
        """Make the endpoints.

        Args:
            upstream: Where models are looked up.
            state: Where jobs and clips are kept.
            runner: What works on the jobs.
            settings: The gateway's settings.
        """
        self._upstream = upstream
        self._state = state
        self._runner = runner
        self._settings = settings
        self._writing = asyncio.Semaphore(1)

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter()
        for path in PATHS:
            one = f"{path}/{{video_id}}"
            router.add_api_route(path, self.create, methods=["POST"])
            router.add_api_route(path, self.page, methods=["GET"])
            router.add_api_route(one, self.get, methods=["GET"])
            router.add_api_route(one, self.delete, methods=["DELETE"])
            for method in ("GET", "HEAD"):
                router.add_api_route(f"{one}/content", self.content, methods=[method])
        return router

    async def create(self, request: Request) -> Response:
        """Queue a job and return it."""
        body, asked = await read_request(request, self._state.bodies, path=VIDEO_PATH)
        route, wanted = admit(request, asked, self._upstream)
        if wanted.n * len(wanted.prompts) > 1:
            raise invalid_request("n", "a job draws one clip; send 1, or leave it out.")
        owner = owner_of(request.scope)
        if await self._state.jobs.count_unfinished() >= self._settings.max_video_jobs:
            raise self._refusal(JobsFullError(of_owner=False))
        fetched = await fetched_inputs(request, wanted, self._state)
        order = await inlined_body(request, body, fetched, self._state.bodies, _job_content)
        # The database gets a large one in one piece; other bodies do not wait for the database.
        alone = self._writing if len(order) > IN_MEMORY else contextlib.nullcontext()
        quota = self._state.quotas.reserved(caller_of(request.scope), 1)
        async with alone, quota as reserved_day:
            try:
                job = await self._state.jobs.create(
                    owner=owner,
                    # Where no model was named, the default may be another one by the time that the job runs.
                    model=asked.model or self._upstream.routes.name_of(route),
                    request=await asyncio.to_thread(order.read_by, lambda found: found[:]),
                    prompt=wanted.prompts[0] or None,
                    seconds=None if wanted.seconds is None else f"{wanted.seconds:g}",
                    size=f"{wanted.width}x{wanted.height}" if wanted.width else None,
                    most=self._settings.max_video_jobs,
                    most_of_owner=self._settings.video_jobs_per_owner if owner else None,
                    reserved_day=reserved_day,
                )
            except JobsFullError as error:
                raise self._refusal(error) from None
        self._runner.submit(job)
        return JSONResponse(_video(job), headers=_POLL_HEADER)

    def _refusal(self, error: JobsFullError) -> APIError:
        most = self._settings.video_jobs_per_owner if error.of_owner else self._settings.max_video_jobs
        whose = " of this API key" if error.of_owner else ""
        return APIError(
            429,
            f"{most} video jobs{whose} are waiting or at work; try again in 30 s.",
            code="queue_full",
            headers={"Retry-After": "30"},
        )

    async def page(
        self,
        request: Request,
        after: str | None = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        order: Literal["asc", "desc"] = "desc",
    ) -> dict[str, Any]:
        """Return a page of the caller's jobs."""
        try:
            page = await self._state.jobs.page(owner_of(request.scope), after=after, limit=limit, order=order)
        except LookupError:
            raise invalid_request("after", "there is no such job; send the id of one of yours.") from None
        data = [_video(job) for job in page.jobs]
        return {
            "object": "list",
            "data": data,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
            "has_more": page.has_more,
        }

    async def _found(self, request: Request, video_id: str) -> VideoJob:
        job = await self._state.jobs.get(owner_of(request.scope), video_id)
        if job is None:
            raise _no_such_video()
        return job

    async def get(self, request: Request, video_id: str) -> Response:
        """Return a job."""
        return JSONResponse(_video(await self._found(request, video_id)), headers=_POLL_HEADER)

    async def delete(self, request: Request, video_id: str) -> dict[str, Any]:
        """Delete a job, at work or not, and its clip."""
        deleted = await self._state.jobs.delete(owner_of(request.scope), video_id)
        if deleted is None:
            raise _no_such_video()
        await self._runner.cancel(video_id)
        if deleted.file_id:
            await self._state.files.delete(deleted.file_id)
        if deleted.status in {"queued", "in_progress"} and deleted.reserved_day is not None:
            await self._state.quotas.give_back(deleted.owner, deleted.reserved_day, 1)
        return {"id": video_id, "object": "video.deleted", "deleted": True}

    async def content(self, request: Request, video_id: str, variant: str = "video") -> Response:
        """Return the clip of a job."""
        if variant != "video":
            raise invalid_request("variant", f"{variant[:64]!r} is not kept; send video, or leave it out.")
        kept = await self._found(request, video_id)
        stored = await self._state.files.get(kept.file_id) if kept.file_id else None
        if stored is None:
            raise _no_clip(kept)
        return await file_response(request, self._state.files, stored)


def _job_content(content: dict[str, Any]) -> dict[str, Any]:
    """Return what the runtime is asked: the request, answered with events that tell of the progress."""
    kept = {key: value for key, value in content.items() if key not in _ANSWER_FIELDS}
    return {**kept, "stream": True, "stream_format": "image.chunk"}


def _video(job: VideoJob) -> dict[str, Any]:
    """Return OpenAI's `Video`."""
    error = {"code": job.error_code, "message": job.error_message} if job.status == "failed" else None
    return {
        "id": job.id,
        "object": "video",
        "model": job.model,
        "status": job.status,
        "progress": job.progress,
        "created_at": job.created_at,
        "completed_at": job.completed_at,
        "expires_at": job.expires_at,
        "prompt": job.prompt,
        "seconds": job.seconds,
        "size": job.size,
        "remixed_from_video_id": None,
        "error": error,
    }


def _no_such_video() -> APIError:
    return APIError(
        404,
        "There is no such video, or it has expired; GET /v1/videos lists yours.",
        param="video_id",
        code="video_not_found",
    )


def _no_clip(job: VideoJob) -> APIError:
    if job.status == "failed":
        return APIError(409, f"The video failed: {job.error_message}", code=job.error_code)
    if job.status == "completed":
        return _no_such_video()
    return APIError(
        409, f"The video is {job.status}, {job.progress} %; ask again later.", code="video_not_ready", headers=_NO_RETRY
    )


# OpenAI's clients repeat a 409 within a second, which is too soon for a clip.
_NO_RETRY = {"x-should-retry": "false"}
