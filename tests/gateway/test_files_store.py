"""The file store: what is kept, for how long, and what a killed process leaves."""

import asyncio
import errno
import logging
import stat
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.states import Clock, opened
from gateway.storages import INSTALLATION, FolderPlace, Place
from heliograph_api.errors import APIError
from heliograph_gateway.files.storage import Storage
from heliograph_gateway.files.store import FileStore

TTL = 3600
Scenario = Callable[[FileStore, Clock], Awaitable[None]]
Run = Callable[..., None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def run(tmp_path: Path, place: Place) -> Run:
    """Run a scenario with a store that is opened for it; a second run finds what the first left."""
    return _run(tmp_path, place)


@pytest.fixture
def run_in_folder(tmp_path: Path, folder: Path) -> Run:
    """Run a scenario with a store in a folder."""
    return _run(tmp_path, FolderPlace(folder))


def _run(tmp_path: Path, place: Place) -> Run:
    def start(scenario: Scenario, *, most: int = 10_000_000, clock: Clock | None = None) -> None:
        async def session() -> None:
            async with opened(tmp_path / "gateway.sqlite3") as database:
                time = clock or Clock()
                storage = place.storage()
                await storage.open(INSTALLATION)
                await scenario(FileStore(storage, database, ttl=TTL, most=most, now=time), time)

        asyncio.run(session())

    return start


@pytest.mark.parametrize(
    ("media_type", "extension"),
    [("image/png", "png"), ("image/jpeg", "jpeg"), ("image/webp", "webp"), ("video/mp4", "mp4")],
)
def test_a_file_is_kept(run: Run, place: Place, media_type: str, extension: str) -> None:
    async def scenario(store: FileStore, clock: Clock) -> None:
        stored = await store.put(b"content", media_type=media_type, owner="a")
        assert stored.name == f"{stored.id}.{extension}"
        assert (stored.owner, stored.size, stored.media_type) == ("a", 7, media_type)
        assert (stored.created_at, stored.expires_at) == (clock.time, clock.time + TTL)
        assert await store.get(stored.id) == stored
        assert await store.exists(stored)

    run(scenario)
    (name,) = place.names()
    assert place.read(name) == b"content"
    if isinstance(place, FolderPlace):
        paths = (place.folder / name, place.folder)
        assert [stat.S_IMODE(one.stat().st_mode) for one in paths] == [0o600, 0o700]
    else:
        assert place.media_type(name) == media_type


def test_ids_cannot_be_guessed(run: Run) -> None:
    async def scenario(store: FileStore, clock: Clock) -> None:
        ids = [(await store.put(b"same", media_type="image/png")).id for _ in range(20)]
        assert len(set(ids)) == 20
        assert all(len(identifier.removeprefix("file_")) == 32 for identifier in ids)

    run(scenario)


def test_other_types_are_not_stored(run: Run, place: Place) -> None:
    async def scenario(store: FileStore, clock: Clock) -> None:
        with pytest.raises(ValueError, match=r"image/svg\+xml"):
            await store.put(b"<svg/>", media_type="image/svg+xml")

    run(scenario)
    assert place.names() == set()


@pytest.mark.parametrize("identifier", ["../gateway.sqlite3", "file_..", "", "file_" + "A" * 32, f"file_{'0' * 32}\n"])
def test_no_id_leads_out_of_the_folder(run: Run, place: Place, identifier: str) -> None:
    async def scenario(store: FileStore, clock: Clock) -> None:
        assert await store.get(identifier) is None
        storage = place.storage()
        await storage.open(INSTALLATION)
        with pytest.raises(ValueError, match="not a file's id"):
            await storage.exists(identifier)

    run(scenario)


def test_files_expire_and_are_collected(run: Run, place: Place) -> None:
    async def scenario(store: FileStore, clock: Clock) -> None:
        short = await store.put(b"short", media_type="image/png", ttl=10)
        usual = await store.put(b"usual", media_type="image/png")
        clock.time += 9
        assert await store.get(short.id) == short
        assert await store.collect() == 0
        clock.time += 1
        # Nobody gets it, even before it is collected.
        assert await store.get(short.id) is None
        assert place.names() == {short.id, usual.id}
        assert await store.collect() == 1
        assert place.names() == {usual.id}
        assert await store.get(usual.id) == usual

    run(scenario)


def test_many_files_are_collected(run: Run, place: Place) -> None:
    async def scenario(store: FileStore, clock: Clock) -> None:
        await asyncio.gather(*(store.put(b"x", media_type="image/png") for _ in range(600)))
        clock.time += TTL
        assert await store.collect() == 600

    run(scenario)
    assert place.names() == set()


def test_a_file_is_deleted(run: Run, place: Place) -> None:
    async def scenario(store: FileStore, clock: Clock) -> None:
        stored = await store.put(b"content", media_type="image/png")
        await store.delete(stored.id)
        await store.delete(stored.id)
        assert await store.get(stored.id) is None

    run(scenario)
    assert place.names() == set()


def test_the_oldest_make_room(run: Run, place: Place, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(store: FileStore, clock: Clock) -> None:
        small = [await store.put(b"x" * 100, media_type="image/png") for _ in range(10)]
        assert place.names() == {stored.id for stored in small}
        large = await store.put(b"x" * 250, media_type="image/png")
        assert place.names() == {stored.id for stored in [*small[3:], large]}
        assert await store.get(small[2].id) is None
        assert await store.get(small[3].id) == small[3]
        whole = await store.put(b"x" * 1000, media_type="image/png")
        assert place.names() == {whole.id}

    run(scenario, most=1000)
    assert "3 files are deleted before their time" in caplog.text


def test_what_is_larger_than_the_store_is_refused(run: Run, place: Place) -> None:
    async def scenario(store: FileStore, clock: Clock) -> None:
        kept = await store.put(b"x" * 10, media_type="image/png")
        with pytest.raises(APIError) as caught:
            await store.put(b"x" * 1001, media_type="video/mp4")
        assert (caught.value.status, caught.value.code) == (507, "storage_full")
        assert "b64_json" in caught.value.message
        assert place.names() == {kept.id}

    run(scenario, most=1000)


def test_a_full_disk_leaves_nothing_behind(
    run_in_folder: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def write_a_part(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    async def scenario(store: FileStore, clock: Clock) -> None:
        monkeypatch.setattr(Path, "write_bytes", write_a_part)
        with pytest.raises(APIError) as caught:
            await store.put(b"content", media_type="image/png")
        assert (caught.value.status, caught.value.code) == (507, "storage_full")
        assert "No space left" not in caught.value.message
        clock.time += TTL
        assert await store.collect() == 0

    run_in_folder(scenario)
    assert FolderPlace(folder).names() == set()
    assert "No space left on device" in caplog.text


def test_what_a_killed_process_left_is_collected(
    run_in_folder: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed_before_the_name(path: Path, target: Path) -> Path:
        raise Killed

    async def first(store: FileStore, clock: Clock) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", killed_before_the_name)
            with pytest.raises(Killed):
                await store.put(b"content", media_type="image/png")

    async def second(store: FileStore, clock: Clock) -> None:
        assert await store.collect() == 1

    run_in_folder(first)
    (left,) = FolderPlace(folder).names()
    assert left.endswith(".part")
    run_in_folder(second, clock=Clock(Clock().time + TTL))
    assert FolderPlace(folder).names() == set()


def test_storing_does_not_hold_up_the_event_loop(run_in_folder: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(store: FileStore, clock: Clock) -> None:
        loop = asyncio.get_running_loop()
        written = asyncio.Event()
        write = Path.write_bytes

        def write_after_the_loop(path: Path, content: bytes) -> int:
            # The loop can only answer if it is free.
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(30)
            loop.call_soon_threadsafe(written.set)
            return write(path, content)

        monkeypatch.setattr(Path, "write_bytes", write_after_the_loop)
        await store.put(b"content", media_type="image/png")
        await asyncio.wait_for(written.wait(), 30)

    run_in_folder(scenario)


def test_logs_name_no_content(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "heliograph_gateway")

    async def scenario(store: FileStore, clock: Clock) -> None:
        await store.put(b"canary-content", media_type="image/png", owner="canary-owner")

    run(scenario)
    assert "canary" not in "".join(
        record.getMessage() for record in caplog.records if record.name.startswith("heliograph")
    )


class _Late:
    """A storage in which the first file is written when a second one has just had it removed."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._removed, self._written = asyncio.Event(), asyncio.Event()

    async def write(self, file_id: str, content: bytes, *, media_type: str) -> None:
        if content == b"first":
            await self._removed.wait()
        await self._storage.write(file_id, content, media_type=media_type)
        self._written.set()

    async def remove(self, file_ids: Sequence[str]) -> None:
        await self._storage.remove(file_ids)
        if not self._removed.is_set():
            self._removed.set()
            await self._written.wait()
            await asyncio.sleep(0.2)  # whoever wrote it looks whether it still has a row

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


def test_a_file_that_is_written_while_it_is_removed_leaves_nothing(tmp_path: Path, place: Place) -> None:
    async def scenario() -> None:
        storage = place.storage()
        await storage.open(INSTALLATION)
        async with opened(tmp_path / "gateway.sqlite3") as database:
            store = FileStore(_Late(storage), database, ttl=TTL, most=6)
            first = asyncio.create_task(store.put(b"first", media_type="image/png"))
            await asyncio.sleep(0.2)
            second = await store.put(b"second", media_type="image/png")
            with pytest.raises(APIError, match="want of room"):
                await first
            assert place.names() == {second.id}

    asyncio.run(scenario())
