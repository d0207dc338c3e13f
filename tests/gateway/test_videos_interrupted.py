"""Video jobs whose gateway ends, or that something else cuts in on."""

import asyncio
import contextlib
import json
import sqlite3
import threading
from collections.abc import AsyncIterator, Collection
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cluster.waiting import eventually
from gateway.answers import CLIP, events
from gateway.manifests import image_model
from gateway.peers import Peer, hold
from gateway.running import ConnectClient, StartGateway
from gateway.stages import settle
from gateway.states import Clock, opened
from gateway.video_jobs import CLIP_EVENTS, drawing, ended
from heliograph_api.naming import child_name
from heliograph_gateway.app import create_app
from heliograph_gateway.files.folder import FolderStorage
from heliograph_gateway.jobs.job import VideoJob
from heliograph_gateway.jobs.repository import VideoJobs
from heliograph_gateway.routing import RoutingTable
from heliograph_gateway.settings import GatewaySettings
from heliograph_gateway.videos import runner
from heliograph_gateway.videos.runner import VideoRunner

# The client warns of the end of OpenAI's own service.
pytestmark = pytest.mark.filterwarnings("ignore:The Sora API")


def files_of(data_dir: Path) -> list[str]:
    """Return the ids in the list of files."""
    with contextlib.closing(sqlite3.connect(data_dir / "gateway.sqlite3")) as database:
        return [file_id for (file_id,) in database.execute("SELECT id FROM stored_files")]


async def nobodys_job(data_dir: Path) -> VideoJob:
    """Make a job that the next gateway with this folder takes up."""
    async with opened(data_dir / "gateway.sqlite3") as database:
        jobs = VideoJobs(database, ttl=60)
        job = await jobs.create(owner="", model="tiny", request=b"{}")
        await jobs.release({}, made=[job.id])
    return job


@contextlib.asynccontextmanager
async def jobs_after(data_dir: Path, job: VideoJob) -> AsyncIterator[tuple[VideoJobs, VideoJob]]:
    """The jobs that a gateway left, at the time when this one was made, and what it is now."""
    async with opened(data_dir / "gateway.sqlite3") as database:
        jobs = VideoJobs(database, ttl=60, now=Clock(job.created_at))
        left = await jobs.get("", job.id)
        assert left
        yield jobs, left


def test_a_job_that_is_deleted_while_its_clip_is_stored_leaves_no_file(
    start_gateway: StartGateway, connect: ConnectClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_stored, may_be_stored = threading.Event(), threading.Event()
    write = FolderStorage.write

    async def slowly(storage: FolderStorage, file_id: str, content: bytes, *, media_type: str) -> None:
        is_stored.set()
        assert await asyncio.to_thread(may_be_stored.wait, 30)
        await write(storage, file_id, content, media_type=media_type)

    monkeypatch.setattr(FolderStorage, "write", slowly)
    with drawing(events(CLIP_EVENTS), start_gateway, data_dir=tmp_path / "kept") as (_, gateway):
        client = connect(gateway.url)
        video = client.videos.create(model="tiny", prompt="a")
        assert is_stored.wait(30)
        assert len(files_of(tmp_path / "kept")) == 1
        client.videos.delete(video.id)
        may_be_stored.set()
        eventually(lambda: files_of(tmp_path / "kept") == [], what="a list without the clip")
        assert list((tmp_path / "kept" / "files").iterdir()) == []


def test_jobs_outlive_the_gateway(start_gateway: StartGateway, connect: ConnectClient, tmp_path: Path) -> None:
    """A gateway that ends leaves what is at work to the next one, and what is done stays done."""
    left = threading.Event()
    with Peer(events(CLIP_EVENTS)) as quick, Peer(hold(left)) as slow:
        first = start_gateway(endpoints=[quick.endpoint], data_dir=tmp_path / "kept")
        client = connect(first.url)
        done = ended(client, client.videos.create(model="tiny", prompt="a").id)
        first.set_endpoints(slow.endpoint)
        running = client.videos.create(model="tiny", prompt="b", extra_body={"seed": 5})
        eventually(lambda: len(slow.requests) == 1, what="the request at the runtime")
        first.stop()
        assert left.is_set()
        second = start_gateway(endpoints=[quick.endpoint], data_dir=tmp_path / "kept")
        again = connect(second.url)
        assert again.videos.retrieve(done.id).status == "completed"
        assert again.videos.download_content(done.id).content == CLIP
        assert ended(again, running.id).status == "completed"
        assert json.loads(quick.requests[-1].body) == json.loads(slow.requests[0].body)


def test_a_job_outlives_a_gateway_that_does_not_know_its_model(
    start_gateway: StartGateway, connect: ConnectClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`heliograph serve` may be started with other models in between; the job waits for its own as long as for any."""
    monkeypatch.setattr(runner, "_UNKNOWN_SECONDS", 0.3)

    async def told_elsewhere(**settings: Any) -> VideoJob:
        job = await nobodys_job(tmp_path)
        app = create_app(RoutingTable(), GatewaySettings(data_dir=tmp_path, **settings))
        async with opened(tmp_path / "gateway.sqlite3") as database, app.router.lifespan_context(app):
            jobs = VideoJobs(database, ttl=60)
            async with asyncio.timeout(30):
                while True:
                    found = await jobs.get("", job.id)
                    assert found
                    if found.status == "failed" or found.attempt > 1:
                        return found
                    await asyncio.sleep(0.05)

    waiting = asyncio.run(told_elsewhere())
    with drawing(events(CLIP_EVENTS), partial(start_gateway, data_dir=tmp_path)) as (_, gateway):
        assert ended(connect(gateway.url), waiting.id).status == "completed"
    failed = asyncio.run(told_elsewhere(video_wait_seconds=0.2))
    assert (failed.status, failed.error_code) == ("failed", "model_not_found")


def test_a_job_that_is_being_started_is_left_to_the_next_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the database has begun it commits, whoever was cancelled meanwhile."""
    start = VideoJobs.start

    async def scenario() -> None:
        begun = asyncio.Event()

        async def told(jobs: VideoJobs, job_id: str) -> VideoJob | None:
            begun.set()
            return await start(jobs, job_id)

        monkeypatch.setattr(VideoJobs, "start", told)
        job = await nobodys_job(tmp_path)
        app = create_app(RoutingTable(), GatewaySettings(data_dir=tmp_path))
        async with asyncio.timeout(60), app.router.lifespan_context(app):
            await begun.wait()
        async with jobs_after(tmp_path, job) as (jobs, left):
            assert (left.status, left.attempt) == ("in_progress", 1), "it was started before the gateway ended"
            assert [one.id for one in await jobs.unfinished()] == [job.id]
            again = await jobs.start(job.id)
            assert again
            assert (again.attempt, again.lapses) == (2, 0)

    asyncio.run(scenario())


@pytest.mark.parametrize("in_time", [True, False], ids=["in time", "too late"])
def test_a_gateway_that_ends_has_clips_stored_that_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, in_time: bool
) -> None:
    """One that takes too long is left to the next gateway."""
    monkeypatch.setattr("heliograph_gateway.videos.runner._STORING_SECONDS", 60.0 if in_time else 0.0)
    write, aclose = FolderStorage.write, VideoRunner.aclose

    async def scenario(peer: Peer) -> None:
        is_stored, may_be_stored = asyncio.Event(), asyncio.Event()

        async def slowly(storage: FolderStorage, file_id: str, content: bytes, *, media_type: str) -> None:
            is_stored.set()
            await may_be_stored.wait()
            await write(storage, file_id, content, media_type=media_type)

        async def end(runner: VideoRunner) -> None:
            ending = asyncio.create_task(aclose(runner))
            await settle()
            if in_time:
                may_be_stored.set()
            await ending

        monkeypatch.setattr(FolderStorage, "write", slowly)
        monkeypatch.setattr(VideoRunner, "aclose", end)
        job = await nobodys_job(tmp_path)
        table = RoutingTable()
        table.set_model(image_model("tiny"))
        table.set_endpoints("default", child_name("tiny"), [peer.endpoint])
        app = create_app(table, GatewaySettings(data_dir=tmp_path))
        async with asyncio.timeout(60), app.router.lifespan_context(app):
            await is_stored.wait()
        async with jobs_after(tmp_path, job) as (jobs, left):
            if in_time:
                assert (left.status, [left.file_id]) == ("completed", files_of(tmp_path))
            else:
                again = await jobs.start(job.id)
                assert again, "its lease was given back"
                assert (left.status, again.attempt, again.lapses) == ("in_progress", 2, 0)

    with Peer(events(CLIP_EVENTS)) as peer:
        asyncio.run(scenario(peer))


def test_a_job_that_is_made_while_others_are_looked_for_is_not_forgotten(
    start_gateway: StartGateway, connect: ConnectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other gateway takes it up before its maker's lease has lapsed."""
    are_read, is_made = threading.Event(), threading.Event()
    unfinished = VideoJobs.unfinished

    async def slowly(jobs: VideoJobs, *, also: Collection[str] = ()) -> list[VideoJob]:
        found = await unfinished(jobs, also=also)
        if also:
            are_read.set()
            assert await asyncio.to_thread(is_made.wait, 30)
        return found

    monkeypatch.setattr(VideoJobs, "unfinished", slowly)
    monkeypatch.setattr("heliograph_gateway.jobs.repository.LEASE_SECONDS", 3600.0)
    with drawing(events(CLIP_EVENTS), start_gateway) as (_, gateway):
        client = connect(gateway.url)
        first = client.videos.create(model="tiny", prompt="a").id
        assert are_read.wait(30)
        second = client.videos.create(model="tiny", prompt="b").id
        is_made.set()
        assert [ended(client, job).status for job in (first, second)] == ["completed", "completed"]
