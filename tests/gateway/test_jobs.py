"""Video jobs in the database."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.states import Clock, opened
from heliograph_gateway.choices import OwnerChoices
from heliograph_gateway.jobs.job import JobsFullError, VideoJob
from heliograph_gateway.jobs.repository import LEASE_SECONDS, VideoJobs

TTL = 86_400
DAY = 1_800_000_000
Scenario = Callable[[VideoJobs, Clock], Awaitable[None]]


@pytest.fixture
def run(database_place: Path | str) -> Callable[[Scenario], None]:
    """Run a scenario with the jobs of a new database."""

    def start(scenario: Scenario) -> None:
        async def session() -> None:
            async with opened(database_place) as database:
                clock = Clock(DAY)
                await scenario(VideoJobs(database, ttl=TTL, now=clock), clock)

        asyncio.run(session())

    return start


def test_a_job_from_its_creation_to_its_end(run: Callable[[Scenario], None]) -> None:
    async def scenario(jobs: VideoJobs, clock: Clock) -> None:
        body = b"\x00\xff" * 1_500_000
        job = await jobs.create(owner="a", model="wan", request=body, prompt="a boat", seconds="4", size="64x64")
        assert job.id.startswith("video_")
        assert (job.status, job.progress, job.attempt) == ("queued", 0, 0)
        assert (job.created_at, job.completed_at, job.expires_at) == (DAY, None, DAY + TTL)
        assert (job.prompt, job.seconds, job.size) == ("a boat", "4", "64x64")
        assert await jobs.get("a", job.id) == job
        assert await jobs.request(job.id) == body

        started = await jobs.start(job.id)
        assert started == dataclasses.replace(job, status="in_progress", attempt=1)
        assert await jobs.progress(job.id, 1, 40)
        assert (await jobs.get("a", job.id)) == dataclasses.replace(started, progress=40)
        clock.time += 100
        assert await jobs.complete(job.id, 1, file_id="file_1")
        ended = await jobs.get("a", job.id)
        assert ended == dataclasses.replace(
            started,
            status="completed",
            progress=100,
            completed_at=DAY + 100,
            expires_at=DAY + 100 + TTL,
            file_id="file_1",
        )
        assert await jobs.request(job.id) is None

    run(scenario)


def test_a_failure_keeps_its_reason(run: Callable[[Scenario], None]) -> None:
    async def scenario(jobs: VideoJobs, clock: Clock) -> None:
        job = await jobs.create(owner="", model="wan", request=b"{}")
        await jobs.start(job.id)
        await jobs.progress(job.id, 1, 40)
        assert await jobs.fail(job.id, 1, code="upstream_failed", message="The runtime ended.")
        failed = await jobs.get("", job.id)
        assert failed
        assert (failed.status, failed.progress, failed.completed_at) == ("failed", 40, None)
        assert (failed.error_code, failed.error_message) == ("upstream_failed", "The runtime ended.")
        assert await jobs.request(job.id) is None

    run(scenario)


def test_an_owner_sees_nobody_elses_jobs(run: Callable[[Scenario], None]) -> None:
    async def scenario(jobs: VideoJobs, clock: Clock) -> None:
        mine, other = [await jobs.create(owner=owner, model="wan", request=b"{}") for owner in ("a", "b")]
        assert await jobs.get("a", other.id) is None
        assert await jobs.delete("a", other.id) is None
        assert await jobs.get("b", other.id) == other
        assert (await jobs.page("a")).jobs == (mine,)
        with pytest.raises(LookupError):
            await jobs.page("a", after=other.id)

    run(scenario)


def test_pages(run: Callable[[Scenario], None]) -> None:
    async def scenario(jobs: VideoJobs, clock: Clock) -> None:
        # All in one second: the order is the one of creation all the same.
        ids = [(await jobs.create(owner="a", model="wan", request=b"{}")).id for _ in range(5)]

        async def listed(**options: object) -> tuple[list[int], bool]:
            page = await jobs.page("a", **options)  # type: ignore[arg-type]
            return [ids.index(job.id) for job in page.jobs], page.has_more

        assert await listed() == ([4, 3, 2, 1, 0], False)
        assert await listed(limit=2) == ([4, 3], True)
        assert await listed(limit=2, after=ids[3]) == ([2, 1], True)
        assert await listed(limit=2, after=ids[1]) == ([0], False)
        assert await listed(limit=5) == ([4, 3, 2, 1, 0], False)
        assert await listed(order="asc", limit=2) == ([0, 1], True)
        assert await listed(order="asc", after=ids[2]) == ([3, 4], False)
        assert await listed(after=ids[0]) == ([], False)
        await jobs.delete("a", ids[3])
        assert await listed(limit=2) == ([4, 2], True)
        with pytest.raises(LookupError):
            await listed(after=ids[3])
        assert (await jobs.page("b")).jobs == ()

    run(scenario)


def test_a_job_is_started_once(run: Callable[[Scenario], None]) -> None:
    async def scenario(jobs: VideoJobs, clock: Clock) -> None:
        job = await jobs.create(owner="", model="wan", request=b"{}")
        started = await asyncio.gather(*(jobs.start(job.id) for _ in range(8)))
        assert [one.attempt for one in started if one] == [1]
        await jobs.complete(job.id, 1, file_id="file_1")
        assert await jobs.start(job.id) is None
        assert await jobs.start("video_none") is None

    run(scenario)


def test_a_job_whose_process_died_is_taken_over(run: Callable[[Scenario], None]) -> None:
    async def scenario(jobs: VideoJobs, clock: Clock) -> None:
        queued, running = [await jobs.create(owner="", model="wan", request=b"{}") for _ in range(2)]
        await jobs.start(running.id)
        clock.time += LEASE_SECONDS - 1
        assert await jobs.unfinished() == []
        await jobs.renew({running.id: 1})
        clock.time += LEASE_SECONDS - 1
        assert [job.id for job in await jobs.unfinished()] == [queued.id]
        assert await jobs.start(running.id) is None
        clock.time += 2
        assert [job.id for job in await jobs.unfinished()] == [queued.id, running.id]
        again = await jobs.start(running.id)
        assert again
        assert (again.attempt, again.progress, again.lapses) == (2, 0, 1)
        assert [job.id for job in await jobs.unfinished()] == [queued.id]
        # What the first attempt still says does not count.
        assert not await jobs.progress(running.id, 1, 90)
        assert not await jobs.complete(running.id, 1, file_id="file_1")
        assert not await jobs.fail(running.id, 1, code="x", message="x")
        assert await jobs.complete(running.id, 2, file_id="file_2")
        # A process that stops in good order gives its jobs up: that is no lapse.
        assert await jobs.start(queued.id)
        await jobs.release({queued.id: 1})
        assert [job.id for job in await jobs.unfinished()] == [queued.id]
        resumed = await jobs.start(queued.id)
        assert resumed
        assert (resumed.attempt, resumed.lapses) == (2, 0)

    run(scenario)


def test_owners_take_turns(run: Callable[[Scenario], None]) -> None:
    async def scenario(jobs: VideoJobs, clock: Clock) -> None:
        made = {}
        for owner, number in ("a", 1), ("a", 2), ("a", 3), ("b", 1), ("c", 1), ("b", 2):
            made[(await jobs.create(owner=owner, model="wan", request=b"{}")).id] = f"{owner}{number}"
        order = []
        while waiting := await jobs.unfinished(also=made):
            clock.time += 1
            started = await jobs.start(waiting[0].id)
            assert started
            order.append(made[started.id])
            # One job at a time runs; the first goes on, so that its owner has one at work all the time.
            if started.id != next(iter(made)):
                await jobs.complete(started.id, 1, file_id="file_1")
        assert order == ["a1", "b1", "c1", "b2", "a2", "a3"]

    run(scenario)


def test_jobs_are_bounded_in_all_and_for_each_owner(run: Callable[[Scenario], None]) -> None:
    async def scenario(jobs: VideoJobs, clock: Clock) -> None:
        async def create(owner: str) -> VideoJob:
            return await jobs.create(owner=owner, model="wan", request=b"{}", most=5, most_of_owner=2)

        ends = await asyncio.gather(*(create("a") for _ in range(6)), return_exceptions=True)
        assert [end.of_owner for end in ends if isinstance(end, JobsFullError)] == [True] * 4
        made = [end for end in ends if isinstance(end, VideoJob)]
        for owner in "bbc":
            await create(owner)
        with pytest.raises(JobsFullError) as caught:
            await create("d")
        assert not caught.value.of_owner
        # What has ended does not count.
        await jobs.start(made[0].id)
        await jobs.fail(made[0].id, 1, code="x", message="x")
        await create("a")

    run(scenario)


def test_a_job_is_put_back(run: Callable[[Scenario], None]) -> None:
    async def scenario(jobs: VideoJobs, clock: Clock) -> None:
        job = await jobs.create(owner="a", model="wan", request=b"{}")
        started = await jobs.start(job.id)
        assert started
        assert jobs.waited(started) == 0
        await jobs.put_back(job.id, 1, seconds=10)
        again = await jobs.get("a", job.id)
        assert again
        assert again.status == "queued"
        assert await jobs.held({job.id: 1}) == set()
        clock.time += 9
        assert await jobs.unfinished() == []
        clock.time += 1
        assert [one.id for one in await jobs.unfinished()] == [job.id]
        second = await jobs.start(job.id)
        assert second
        assert second.attempt == 2
        assert jobs.waited(second) == 10
        assert await jobs.held({job.id: 2, "video_none": 1}) == {job.id}
        # An attempt that is over puts nothing back.
        await jobs.put_back(job.id, 1, seconds=10)
        assert await jobs.held({job.id: 2}) == {job.id}
        assert await jobs.progress(job.id, 2, 10)
        drawn = await jobs.get("a", job.id)
        assert drawn
        assert jobs.waited(drawn) == 0

    run(scenario)


def test_a_job_that_is_put_back_queues_up_again(run: Callable[[Scenario], None]) -> None:
    """Those for a model that starts may all be due again before one for another model was looked at."""

    async def scenario(jobs: VideoJobs, clock: Clock) -> None:
        *cold, ready = [await jobs.create(owner="a", model=model, request=b"{}") for model in ("cold", "cold", "tiny")]
        made = [job.id for job in (*cold, ready)]
        for job in cold:
            assert await jobs.start(job.id)
            await jobs.put_back(job.id, 1, seconds=1)
            clock.time += 2
        assert [job.id for job in await jobs.unfinished(also=made)] == [ready.id, cold[0].id, cold[1].id]
        later = await jobs.create(owner="a", model="tiny", request=b"{}")
        assert [job.id for job in await jobs.unfinished(also=[later.id])] == [cold[0].id, cold[1].id, later.id]

    run(scenario)


@pytest.mark.parametrize("identifier", ["", "video_none", "\0", "video_\ud800", f"video_{'0' * 32}\0"])
def test_what_is_no_id_is_no_job(run: Callable[[Scenario], None], identifier: str) -> None:
    async def scenario(jobs: VideoJobs, clock: Clock) -> None:
        assert await jobs.get("a", identifier) is None
        assert await jobs.delete("a", identifier) is None
        with pytest.raises(LookupError):
            await jobs.page("a", after=identifier)

    run(scenario)


def test_texts_that_no_database_takes(run: Callable[[Scenario], None]) -> None:
    async def scenario(jobs: VideoJobs, clock: Clock) -> None:
        job = await jobs.create(owner="a", model="wan", request=b"{}", prompt="a\0 boat \ud800")
        assert job.prompt == "a boat ?"
        await jobs.start(job.id)
        assert await jobs.fail(job.id, 1, code="x" * 100, message="a\0b")
        failed = await jobs.get("a", job.id)
        assert failed
        assert (failed.error_code, failed.error_message) == ("x" * 64, "ab")

    run(scenario)


def test_released_jobs_are_free_at_once(run: Callable[[Scenario], None]) -> None:
    async def scenario(jobs: VideoJobs, clock: Clock) -> None:
        job = await jobs.create(owner="", model="wan", request=b"{}")
        await jobs.start(job.id)
        await jobs.release({job.id: 1})
        assert [one.id for one in await jobs.unfinished()] == [job.id]
        await jobs.renew({})
        await jobs.release({})

    run(scenario)


def test_nobody_gives_up_what_another_process_holds(run: Callable[[Scenario], None]) -> None:
    """A process may hear late that others have taken up what it made, or what it was too slow to renew."""

    async def scenario(jobs: VideoJobs, clock: Clock) -> None:
        made, lost, put_back, waiting = [await jobs.create(owner="", model="wan", request=b"{}") for _ in range(4)]
        for job in (made, lost, put_back):
            assert await jobs.start(job.id)
        clock.time += LEASE_SECONDS + 1
        for job in (made, lost, put_back):
            assert await jobs.start(job.id)
        await jobs.put_back(put_back.id, 2, seconds=LEASE_SECONDS)
        ours = {lost.id: 1}
        await jobs.release(ours, made=[made.id, put_back.id, waiting.id])
        assert [job.id for job in await jobs.unfinished()] == [waiting.id]
        # Nor does anybody keep it for the other one, once that has stopped.
        clock.time += LEASE_SECONDS - 1
        await jobs.renew(ours)
        clock.time += 2
        assert {job.id for job in await jobs.unfinished()} >= {made.id, lost.id}

    run(scenario)


def test_a_deleted_job_takes_no_more_news(run: Callable[[Scenario], None]) -> None:
    async def scenario(jobs: VideoJobs, clock: Clock) -> None:
        job = await jobs.create(owner="a", model="wan", request=b"{}")
        started = await jobs.start(job.id)
        assert await jobs.delete("a", job.id) == started
        assert await jobs.get("a", job.id) is None
        assert not await jobs.progress(job.id, 1, 50)
        assert not await jobs.complete(job.id, 1, file_id="file_1")

    run(scenario)


def test_jobs_expire(run: Callable[[Scenario], None]) -> None:
    async def scenario(jobs: VideoJobs, clock: Clock) -> None:
        never_run, ended = [await jobs.create(owner="a", model="wan", request=b"{}") for _ in range(2)]
        await jobs.start(ended.id)
        assert await jobs.count_unfinished() == 2
        clock.time += 100
        await jobs.complete(ended.id, 1, file_id="file_1")
        assert await jobs.count_unfinished() == 1
        clock.time = DAY + TTL - 1
        assert await jobs.delete_expired() == 0
        clock.time += 1
        assert await jobs.delete_expired() == 1
        assert await jobs.get("a", never_run.id) is None
        clock.time += 100
        assert await jobs.delete_expired() == 1
        assert (await jobs.page("a")).jobs == ()

    run(scenario)


def test_choices(database_place: Path | str) -> None:
    async def scenario() -> None:
        async with opened(database_place) as database:
            choices = OwnerChoices(database)
            assert await choices.get("a", "model") is None
            await choices.set("a", "model", "tiny")
            await choices.set("a", "model", "sdxl")
            await choices.set("b", "model", "flux")
            assert [await choices.get(owner, "model") for owner in ("a", "b")] == ["sdxl", "flux"]
            assert await choices.get("a", "sampler") is None
            await asyncio.gather(*(choices.set("a", "model", f"model-{number}") for number in range(8)))
            assert (await choices.get("a", "model") or "").startswith("model-")

    asyncio.run(scenario())
