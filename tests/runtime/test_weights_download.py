import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from heliograph_runtime.weights.download import Stopped, bring
from heliograph_runtime.weights.errors import FetchError
from heliograph_runtime.weights.progress import Progress
from heliograph_runtime.weights.remote import RemoteFile
from heliograph_runtime.weights.urls import find_http_file
from heliograph_runtime.weights.volume import Volume
from runtime.file_host import FileHost, file_host

CONTENT = bytes(range(256)) * 4096
DIGEST = hashlib.sha256(CONTENT).hexdigest()
PATH = "/a/dream.safetensors"


@pytest.fixture
def host() -> Iterator[FileHost]:
    with file_host() as running:
        running.files[PATH] = CONTENT
        yield running


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=10, follow_redirects=True) as opened:
        yield opened


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    return Volume(tmp_path)


def found(client: httpx.Client, host: FileHost, path: str = PATH, sha256: str | None = None) -> RemoteFile:
    return find_http_file(client, host.url(path), field="spec.parameters.model", target="m", sha256=sha256)


class Counted:
    """Counts bytes and pauses."""

    def __init__(self) -> None:
        self.progress = Progress()
        self.pauses: list[float] = []

    @property
    def bytes(self) -> int:
        return self.progress.state().done

    def bring(self, file: RemoteFile, volume: Volume, *, most: int | None = None) -> str:
        return bring(file, volume, progress=self.progress, most=most, pause=self.pauses.append)


def test_a_file_arrives(client: httpx.Client, host: FileHost, volume: Volume) -> None:
    counted = Counted()

    assert counted.bring(found(client, host), volume) == DIGEST
    blob = volume.blob(DIGEST)
    assert blob is not None
    assert blob.read_bytes() == CONTENT
    assert blob.stat().st_mode & 0o222 == 0
    assert counted.bytes == len(CONTENT)
    assert counted.pauses == []


@pytest.mark.parametrize("sha256", [DIGEST, None])
def test_what_is_there_is_not_fetched_again(
    client: httpx.Client, host: FileHost, volume: Volume, sha256: str | None
) -> None:
    Counted().bring(found(client, host, sha256=sha256), volume)
    counted = Counted()

    assert counted.bring(found(client, host, sha256=sha256), volume) == DIGEST
    assert host.reads(PATH) == [0]
    assert counted.bytes == len(CONTENT)


def test_a_file_that_is_changed_at_its_url_is_fetched_again(
    client: httpx.Client, host: FileHost, volume: Volume
) -> None:
    Counted().bring(found(client, host), volume)
    host.files[PATH] = CONTENT[::-1]

    assert Counted().bring(found(client, host), volume) == hashlib.sha256(CONTENT[::-1]).hexdigest()


@pytest.mark.parametrize("tags", [True, False])
def test_a_connection_that_ends_early_is_gone_on_with(
    client: httpx.Client, host: FileHost, volume: Volume, tags: bool
) -> None:
    host.cut_after, host.tags = 300_000, tags
    counted = Counted()

    assert counted.bring(found(client, host, sha256=DIGEST), volume) == DIGEST
    assert host.reads(PATH)[:2] == [0, 300_000]
    assert len(host.reads(PATH)) == 4
    assert counted.bytes == len(CONTENT)


def test_a_fetch_that_was_ended_is_gone_on_with_by_the_next(
    client: httpx.Client, host: FileHost, volume: Volume
) -> None:
    file = found(client, host, sha256=DIGEST)
    with volume.partial(file.key) as partial:
        partial.write_bytes(CONTENT[:500_000])

    assert Counted().bring(file, volume) == DIGEST
    assert host.reads(PATH) == [500_000]


def test_a_host_without_ranges_gives_the_file_from_its_start(
    client: httpx.Client, host: FileHost, volume: Volume
) -> None:
    file = found(client, host, sha256=DIGEST)
    host.ranges = False
    with volume.partial(file.key) as partial:
        partial.write_bytes(CONTENT[:500_000])
    counted = Counted()

    assert counted.bring(file, volume) == DIGEST
    assert host.reads(PATH) == [500_000, 0]
    assert counted.bytes == len(CONTENT)


def test_a_host_that_always_breaks_off_is_given_up(client: httpx.Client, host: FileHost, volume: Volume) -> None:
    file = found(client, host)
    host.ranges, host.cut_after = False, 1000
    counted = Counted()

    with pytest.raises(FetchError) as caught:
        counted.bring(file, volume)
    assert caught.value.reason == "SourceUnreachable"
    assert caught.value.passes


def test_a_host_that_fails_for_a_moment_is_asked_again(client: httpx.Client, host: FileHost, volume: Volume) -> None:
    file = found(client, host)
    host.failures = [503, 429, 500]
    counted = Counted()

    assert counted.bring(file, volume) == DIGEST
    assert counted.pauses == [2.0, 4.0, 8.0]


@pytest.mark.parametrize(
    ("status", "reason"), [(401, "WeightsUnauthorized"), (403, "WeightsUnauthorized"), (404, "WeightsNotFound")]
)
def test_refusals_are_not_tried_again(
    client: httpx.Client, host: FileHost, volume: Volume, status: int, reason: str
) -> None:
    host.failures = [status]
    with pytest.raises(FetchError) as caught:
        found(client, host)
    assert caught.value.reason == reason
    assert not caught.value.passes
    assert "spec.parameters.model" in str(caught.value)
    assert "hfTokenSecretRef" not in str(caught.value), "the hub's token goes to no other host"


def test_a_wrong_digest_throws_the_file_away(client: httpx.Client, host: FileHost, volume: Volume) -> None:
    file = found(client, host, sha256="0" * 64)
    counted = Counted()

    with pytest.raises(FetchError, match=DIGEST) as caught:
        counted.bring(file, volume)
    assert caught.value.reason == "ChecksumMismatch"
    assert volume.partial_bytes(file.key) == 0
    assert volume.blob(DIGEST) is None
    assert counted.bytes == 0


def test_credentials_go_to_no_other_host(client: httpx.Client, host: FileHost, volume: Volume) -> None:
    host.token = "canary"
    with file_host() as other:
        other.files["/store"] = CONTENT
        host.redirects[PATH] = other.url("/store").replace("127.0.0.1", "localhost")
        headers = {"authorization": "Bearer canary"}
        file = find_http_file(client, host.url(PATH), field="f", target="m", sha256=None, headers=headers)

        assert Counted().bring(file, volume) == DIGEST
        assert {authorization for _, _, authorization in other.seen} == {""}


def test_a_file_of_unknown_size_that_never_ends(client: httpx.Client, host: FileHost, volume: Volume) -> None:
    file = replace(found(client, host), size=None)

    with pytest.raises(FetchError, match="500000 bytes") as caught:
        Counted().bring(file, volume, most=500_000)
    assert (caught.value.reason, caught.value.passes) == ("TooLarge", False)


def test_a_file_that_is_not_wanted_any_more(client: httpx.Client, host: FileHost, volume: Volume) -> None:
    file, stop = found(client, host), threading.Event()
    host.cut_after = 100_000

    with pytest.raises(Stopped):
        bring(file, volume, progress=Progress(), stop=stop, pause=lambda _: stop.set())
    assert 0 < volume.partial_bytes(file.key) < len(CONTENT)


def test_a_digest_that_was_being_written_when_all_ended(client: httpx.Client, host: FileHost, volume: Volume) -> None:
    """A machine that loses its power may leave an empty file."""
    file = found(client, host)
    Counted().bring(file, volume)
    (volume.folder("m").parents[1] / "known" / file.key).write_text("")

    assert Counted().bring(file, volume) == DIGEST
    assert host.reads(PATH) == [0, 0]


def test_errors_tell_no_signature(client: httpx.Client, host: FileHost) -> None:
    with pytest.raises(FetchError) as caught:
        found(client, host, "/missing?signature=canary")
    assert "canary" not in str(caught.value)


def test_no_host_there(client: httpx.Client) -> None:
    with pytest.raises(FetchError, match="can't be reached") as caught:
        find_http_file(client, "http://127.0.0.1:1/a", field="f", target="m", sha256=None)
    assert caught.value.passes


def test_two_fetches_of_one_file_at_once_fetch_it_once(client: httpx.Client, host: FileHost, volume: Volume) -> None:
    file = found(client, host)
    digests: list[str] = []
    threads = [threading.Thread(target=lambda: digests.append(Counted().bring(file, volume))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert digests == [DIGEST] * 4
    assert host.reads(PATH) == [0]
