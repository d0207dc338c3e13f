"""The programs of docs/backup.md copy the database of a gateway that runs, and put it back."""

import asyncio
import subprocess
import sys
from pathlib import Path

from sqlalchemy import select

from docs.blocks import all_blocks
from gateway.states import opened
from heliograph_gateway.jobs.repository import VideoJobs
from heliograph_gateway.tables import video_jobs

DATA = "/var/lib/heliograph"
"""Where the chart mounts what the gateway keeps."""


def program(name: str, data: Path) -> str:
    """Return a program of the page, for another folder."""
    (block,) = (
        block for block in all_blocks() if (block.document, block.kind, block.value) == ("docs/backup.md", "file", name)
    )
    assert DATA in block.text
    return block.text.replace(DATA, str(data))


def run(text: str, *, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", text], input=given, capture_output=True, timeout=60, check=False)


async def jobs_of(data: Path) -> list[str]:
    async with opened(data / "gateway.sqlite3") as database:
        return [model for (model,) in await database.rows(select(video_jobs.c.model))]


def test_the_programs_are_for_the_folder_that_the_chart_mounts(root: Path) -> None:
    template = (root / "charts" / "heliograph" / "templates" / "gateway.yaml").read_text(encoding="utf-8")

    assert f"mountPath: {DATA}\n" in template


def test_a_copy_holds_what_was_written_and_comes_back(tmp_path: Path) -> None:
    lost = tmp_path / "lost"
    lost.mkdir()

    async def scenario() -> bytes:
        async with opened(tmp_path / "gateway.sqlite3") as database:
            await VideoJobs(database, ttl=3600).create(owner="a", model="wan", request=b"x")
            assert (tmp_path / "gateway.sqlite3-wal").stat().st_size, "what was written is still beside the file"
            saved = await asyncio.to_thread(run, program("save.py", tmp_path))
        async with opened(lost / "gateway.sqlite3") as database:
            await VideoJobs(database, ttl=3600).create(owner="a", model="svd", request=b"x")
        assert saved.returncode == 0, saved.stderr
        return saved.stdout

    copy = asyncio.run(scenario())
    # As a gateway that was killed leaves it.
    (lost / "gateway.sqlite3-wal").write_bytes(b"of another file")
    restored = run(program("restore.py", lost), given=copy)

    assert restored.returncode == 0, restored.stderr
    assert asyncio.run(jobs_of(lost)) == ["wan"]
    assert (lost / "gateway.sqlite3").stat().st_mode & 0o077 == 0


def test_a_broken_copy_changes_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "gateway.sqlite3") as database:
            await VideoJobs(database, ttl=3600).create(owner="a", model="wan", request=b"x")

    asyncio.run(scenario())
    restored = run(program("restore.py", tmp_path), given=(tmp_path / "gateway.sqlite3").read_bytes()[:8192])

    assert restored.returncode != 0
    assert asyncio.run(jobs_of(tmp_path)) == ["wan"]
