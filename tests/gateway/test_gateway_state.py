"""The gateway's state as a whole: where it is, and what happens when it cannot be there."""

import asyncio
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.running import served
from heliograph_gateway.app import create_app
from heliograph_gateway.database import StateError
from heliograph_gateway.files.store import FileStore
from heliograph_gateway.jobs.repository import VideoJobs
from heliograph_gateway.routing import RoutingTable
from heliograph_gateway.settings import GatewaySettings
from heliograph_gateway.state import State

ROOT = Path(__file__).resolve().parents[2]


async def open_and_close(state: State) -> None:
    try:
        await state.open()
        await state.open()
    finally:
        await state.aclose()


def test_the_data_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there" / "yet"
    asyncio.run(open_and_close(State(GatewaySettings(data_dir=folder))))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {"files": 0o700, "gateway.sqlite3": 0o600, "signing.key": 0o600}


def test_nothing_is_written_before_it_is_opened(tmp_path: Path) -> None:
    State(GatewaySettings(data_dir=tmp_path / "data"))
    assert list(tmp_path.iterdir()) == []


def test_a_configured_database_and_key_are_used(tmp_path: Path) -> None:
    settings = GatewaySettings(
        data_dir=tmp_path / "data", database_url=f"sqlite:///{tmp_path}/other.sqlite3", signing_key="0123456789abcdef"
    )
    asyncio.run(open_and_close(State(settings)))
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"files"}
    assert (tmp_path / "other.sqlite3").stat().st_size > 0


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    state = State(GatewaySettings(data_dir=tmp_path / "file" / "data"))
    with pytest.raises(StateError, match=r"^data_dir: .*/file/data cannot be used: Not a directory; name a folder"):
        asyncio.run(open_and_close(state))


def test_serve_says_what_is_wrong_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run = subprocess.run(
        [sys.executable, "-m", "heliograph", "serve", ROOT / "examples" / "tiny.yaml", "--port", "0"],
        env={**os.environ, "HELIOGRAPH_GATEWAY_DATA_DIR": str(tmp_path / "file" / "data")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 1
    # What comes before it is the progress of the runtimes, which start first.
    *_, line = run.stderr.splitlines()
    assert line.startswith(f"Error: data_dir: {tmp_path}/file/data cannot be used: Not a directory")


def test_what_expires_is_deleted_whatever_went_wrong_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heliograph_gateway.state._COLLECT_SECONDS", 0.0)

    async def scenario() -> None:
        tries, is_tried_again, others = 0, asyncio.Event(), asyncio.Event()

        async def collect(_files: FileStore) -> int:
            nonlocal tries
            tries += 1
            if tries > 1:
                is_tried_again.set()
            raise ValueError("nobody thought of this")

        async def delete_expired(_jobs: VideoJobs) -> int:
            others.set()
            return 0

        monkeypatch.setattr(FileStore, "collect", collect)
        monkeypatch.setattr(VideoJobs, "delete_expired", delete_expired)
        state = State(GatewaySettings(data_dir=tmp_path))
        await state.open()
        try:
            async with asyncio.timeout(30):
                await is_tried_again.wait()
                await others.wait()
        finally:
            await state.aclose()

    asyncio.run(scenario())


def test_a_gateway_opens_its_state_and_closes_it_in_the_end(tmp_path: Path) -> None:
    log = tmp_path / "gateway.sqlite3-wal"
    with served(create_app(RoutingTable(), GatewaySettings(data_dir=tmp_path))):
        assert log.exists()
    # SQLite removes its log with the last connection.
    assert not log.exists()
