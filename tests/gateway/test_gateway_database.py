"""The database as a file: who may read it, what survives, and what is refused."""

import asyncio
import random
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import update

from cluster.leash import Leash
from cluster.waiting import eventually
from gateway.states import Clock, opened
from heliograph_gateway.database import StateError
from heliograph_gateway.files.folder import FolderStorage
from heliograph_gateway.files.store import FileStore
from heliograph_gateway.jobs.repository import VideoJobs
from heliograph_gateway.tables import SCHEMA_VERSION, schema_version

WRITER = """
import asyncio, sys
from sqlalchemy import URL
from heliograph_gateway.database import Database
from heliograph_gateway.jobs.repository import VideoJobs

async def write():
    database = Database(URL.create("sqlite", database=sys.argv[1]))
    await database.open()
    jobs = VideoJobs(database, ttl=3600)
    while True:
        job = await jobs.create(owner="a", model="wan", request=b"x" * 200_000)
        await jobs.start(job.id)
        await jobs.progress(job.id, 1, 30)
        print(job.id, flush=True)

asyncio.run(write())
"""
OPENER = """
import asyncio, sys
from sqlalchemy import URL
from heliograph_gateway.database import Database
database = Database(URL.create("sqlite", database=sys.argv[1]))
asyncio.run(database.open())
"""


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    def modes() -> dict[str, int]:
        return {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}

    async def scenario() -> dict[str, int]:
        async with opened(tmp_path / "gateway.sqlite3") as database:
            await VideoJobs(database, ttl=1).create(owner="", model="wan", request=b"secret")
            return modes()

    assert asyncio.run(scenario()) == {f"gateway.sqlite3{suffix}": 0o600 for suffix in ("", "-wal", "-shm")}


def test_jobs_survive_the_sudden_death_of_their_process(tmp_path: Path) -> None:
    path, log = tmp_path / "gateway.sqlite3", tmp_path / "log"

    def written() -> list[str]:
        return [line for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]

    with Leash([sys.executable, "-c", WRITER, path], log=log) as writer:
        eventually(lambda: len(written()) > 20, what="jobs of the writer")
        writer.send_signal(signal.SIGKILL)
        assert writer.wait() == -signal.SIGKILL
    announced = [line.strip() for line in written()]

    async def scenario() -> None:
        clock = Clock(2**33)
        async with opened(path) as database:
            jobs = VideoJobs(database, ttl=3600, now=clock)
            for job_id in announced:
                job = await jobs.get("a", job_id)
                assert job
                assert (job.status, job.progress) == ("in_progress", 30)
                assert await jobs.request(job_id) == b"x" * 200_000
            assert {job.id for job in await jobs.unfinished()} >= set(announced)

    asyncio.run(scenario())
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_processes_that_open_a_new_database_at_once(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sqlite3"
    command = [sys.executable, "-c", OPENER, str(path)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate(timeout=60)[1] for process in processes] == [""] * 4
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT version FROM schema_version").fetchall() == [(SCHEMA_VERSION,)]
    connection.close()


def test_two_processes_work_on_one_database(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "gateway.sqlite3"
        async with opened(path) as one, opened(path) as two:
            repositories = [VideoJobs(database, ttl=60) for database in (one, two)]
            await asyncio.gather(
                *(jobs.create(owner="a", model="wan", request=b"x" * 10_000) for jobs in repositories * 25)
            )
            assert len((await repositories[0].page("a", limit=100)).jobs) == 50

    asyncio.run(scenario())


def test_cancelled_callers_leave_no_lock_behind(tmp_path: Path) -> None:
    chance = random.Random(0)

    async def scenario() -> None:
        async with opened(tmp_path / "gateway.sqlite3") as database:
            jobs = VideoJobs(database, ttl=60)
            files = FileStore(FolderStorage(tmp_path), database, ttl=60, most=10**9)
            for _ in range(40):
                calls: list[asyncio.Task[object]] = []
                for _ in range(10):
                    calls.append(asyncio.create_task(files.put(b"x" * 3000, media_type="image/png")))
                    calls.append(asyncio.create_task(jobs.create(owner="a", model="wan", request=b"x" * 50_000)))
                await asyncio.sleep(chance.random() * 0.02)
                for call in calls:
                    if chance.random() < 0.7:
                        call.cancel()
                ends = await asyncio.gather(*calls, return_exceptions=True)
                assert [end for end in ends if isinstance(end, Exception)] == []

    asyncio.run(scenario())


def test_a_database_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sqlite3"

    async def scenario() -> None:
        async with opened(path) as database:
            await database.change(update(schema_version).values(version=SCHEMA_VERSION + 1))
        async with opened(path):
            pass

    with pytest.raises(StateError, match=rf"schema {SCHEMA_VERSION + 1}, this one's is {SCHEMA_VERSION}"):
        asyncio.run(scenario())


@pytest.mark.parametrize("content", [b"not a database" * 100, None])
def test_what_is_no_database_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "gateway.sqlite3"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)

    async def scenario() -> None:
        async with opened(path):
            pass

    with pytest.raises(StateError, match=r"^database_url: sqlite.*gateway\.sqlite3 cannot be used"):
        asyncio.run(scenario())
