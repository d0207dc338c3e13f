"""Where the bytes of files are: whose they are, and what happens while a bucket is away."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gateway.relay import Relay
from gateway.states import opened
from gateway.storages import INSTALLATION, BucketPlace, Place
from heliograph_api.errors import APIError
from heliograph_gateway.database import StateError
from heliograph_gateway.files.bucket import BucketStorage
from heliograph_gateway.files.folder import FolderStorage
from heliograph_gateway.files.storage import MARKER, Storage, StorageUnavailableError
from heliograph_gateway.files.store import FileStore

FILE = f"file_{'0' * 32}"
CONTENT = bytes(range(256)) * 8192


async def read(storage: Storage, start: int, stop: int) -> bytes:
    async with storage.reading(FILE, start, stop) as parts:
        return b"".join([bytes(part) async for part in parts])


def test_parts_of_a_file(place: Place) -> None:
    async def scenario() -> None:
        storage = place.storage()
        await storage.open(INSTALLATION)
        await storage.write(FILE, CONTENT, media_type="video/mp4")
        for start, stop in ((0, len(CONTENT)), (0, 1), (700_001, 1_400_003), (len(CONTENT) - 1, len(CONTENT))):
            assert await read(storage, start, stop) == CONTENT[start:stop]
        await storage.remove([FILE, f"file_{'1' * 32}"])
        assert not await storage.exists(FILE)
        with pytest.raises(FileNotFoundError):
            await read(storage, 0, 1)
        await storage.remove([FILE])

    asyncio.run(scenario())


def test_gateways_of_one_installation_open_it_at_once(place: Place) -> None:
    async def scenario() -> None:
        storages = [place.storage() for _ in range(6)]
        await asyncio.gather(*(storage.open(INSTALLATION) for storage in storages))
        await storages[0].write(FILE, CONTENT, media_type="video/mp4")
        assert await read(storages[1], 0, len(CONTENT)) == CONTENT

    asyncio.run(scenario())


def test_the_place_of_another_installation_is_refused(place: Place) -> None:
    async def scenario() -> None:
        first = place.storage()
        await first.open("another")
        await first.write(FILE, CONTENT, media_type="video/mp4")
        with pytest.raises(StateError, match="holds the files of another installation") as caught:
            await place.storage().open(INSTALLATION)
        assert MARKER in str(caught.value)
        assert await first.exists(FILE)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"AWS_SECRET_ACCESS_KEY": ""}, "AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not"),
        ({"AWS_ACCESS_KEY_ID": ""}, "AWS_SECRET_ACCESS_KEY is set and AWS_ACCESS_KEY_ID is not"),
        ({"AWS_CA_BUNDLE": "/not/there"}, "AWS_CA_BUNDLE: /not/there cannot be read"),
        ({"AWS_CA_BUNDLE": __file__}, "cannot be used"),
    ],
)
def test_an_environment_that_makes_no_sense(bucket_url: str, given: Mapping[str, str], problem: str) -> None:
    environment = {name: value for name, value in ({**os.environ, **given}).items() if value}
    with pytest.raises(StateError, match=problem) as caught:
        asyncio.run(BucketStorage(bucket_url, environment).open(INSTALLATION))
    assert "canary" not in str(caught.value)


def test_a_bucket_that_is_not_there_is_refused(bucket_url: str) -> None:
    storage = BucketStorage(f"{bucket_url.replace('files-', 'none-')}", os.environ)
    with pytest.raises(StateError, match="correct the URL, or give the gateway credentials"):
        asyncio.run(storage.open(INSTALLATION))


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    storage = FolderStorage(tmp_path / "file" / "files", setting="files_url")
    with pytest.raises(StateError, match=r"^files_url: .* cannot be used: Not a directory"):
        asyncio.run(storage.open(INSTALLATION))


def test_a_bucket_that_cannot_be_reached_is_used_once_it_can(
    bucket_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The gateway starts and answers, and tells what it cannot keep; nothing waits for ever."""
    bucket, server = BucketPlace(bucket_url), urlsplit(os.environ["AWS_ENDPOINT_URL"])
    relay = Relay(server.hostname or "", server.port or 0)
    relay.cut()

    async def scenario() -> None:
        environment = {**os.environ, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{relay.port}"}
        async with opened(tmp_path / "gateway.sqlite3") as database:
            storage = BucketStorage(bucket_url, environment)
            store = FileStore(storage, database, ttl=60, most=10_000)
            await storage.open(INSTALLATION)
            with pytest.raises(APIError) as caught:
                await store.put(b"lost", media_type="image/png")
            assert (caught.value.status, caught.value.code) == (503, "storage_unavailable")
            assert caught.value.headers["x-should-retry"] == "false"
            assert "b64_json" in caught.value.message
            relay.restore()
            kept = await store.put(b"kept", media_type="image/png")
            assert bucket.names() == {kept.id}
            relay.cut()
            await store.delete(kept.id)
            assert await store.get(kept.id) is None
            with pytest.raises(StorageUnavailableError):
                await store.collect()
            relay.restore()
            # The one that was deleted, and what never came.
            assert await store.collect() == 2
            assert bucket.names() == set()

    try:
        asyncio.run(asyncio.wait_for(scenario(), 300))
    finally:
        relay.cut()
    assert "cannot be reached yet" in caplog.text


def test_a_bucket_that_was_away_at_first_may_be_anothers(
    bucket_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = urlsplit(os.environ["AWS_ENDPOINT_URL"])
    relay = Relay(server.hostname or "", server.port or 0)
    relay.cut()

    async def scenario() -> None:
        await BucketPlace(bucket_url).storage().open("another")
        late = BucketStorage(bucket_url, {**os.environ, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{relay.port}"})
        await late.open(INSTALLATION)
        relay.restore()
        for call in (late.write(FILE, b"x", media_type="image/png"), late.remove([FILE]), late.exists(FILE)):
            with pytest.raises(StorageUnavailableError) as caught:
                await call
            assert "another installation" in caught.value.why
        assert BucketPlace(bucket_url).names() == set()

    try:
        asyncio.run(scenario())
    finally:
        relay.cut()


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path, _target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)

    async def scenario() -> None:
        for _ in range(2):
            await FolderStorage(tmp_path).open(INSTALLATION)
        with pytest.raises(StateError, match="another installation"):
            await FolderStorage(tmp_path).open("another")

    asyncio.run(scenario())
    assert [path.name for path in tmp_path.iterdir()] == [MARKER]
