"""`heliograph fetch` as a process of its own: what it tells, and what it leaves behind however it ends."""

import hashlib
import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cluster.waiting import eventually
from heliograph_api.exits import FETCH_PERMANENT, FETCH_TEMPORARY, FetchResult
from runtime.fetching import Fetch, start_fetch
from runtime.file_host import FileHost, file_host
from runtime.hub_host import add_repository

PATH = "/a/dream.gguf"
CONTENT = b"GGUF" + random.Random(1).randbytes(3_000_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
FIELD = "spec.parameters.model"


@pytest.fixture
def host() -> Iterator[FileHost]:
    with file_host() as running:
        running.files[PATH] = CONTENT
        yield running


def spec(host: FileHost, **more: Any) -> dict[str, Any]:
    return {"backend": "stablediffusion-ggml", "parameters": {"model": host.url(PATH)}, **more}


def ended(fetch: Fetch) -> tuple[int, FetchResult]:
    with fetch.leash:
        return fetch.wait()


def test_a_fetch(host: FileHost, tmp_path: Path) -> None:
    told = tmp_path / "termination-log"
    told.touch()

    fetch = start_fetch(tmp_path, spec(host), termination_log=told)

    expected = FetchResult("Fetched", bytes=len(CONTENT), files=1, sha256=DIGEST)
    assert ended(fetch) == (0, expected)
    assert FetchResult.read(told.read_text()) == expected
    assert fetch.files() == {"model/dream.gguf": CONTENT}


def test_the_commits_of_repositories(host: FileHost, tmp_path: Path) -> None:
    commit = add_repository(host, "a/b", {"x.gguf": b"x", "y.gguf": b"y"})
    model = {"parameters": {"model": "hf://a/b:x"}, "options": ["vae_path:hf://a/b/y.gguf@main"]}

    status, result = ended(start_fetch(tmp_path, model, environment={"HF_ENDPOINT": host.url("")}))

    assert (status, result.reason, result.sha256) == (0, "Fetched", None)
    assert result.revisions == {FIELD: commit, "spec.options[0]": commit}


def test_how_far_it_is(host: FileHost, tmp_path: Path) -> None:
    host.hold_after = 1_000_000
    fetch = start_fetch(tmp_path, spec(host))
    with fetch.leash:
        fetch.wait_for_bytes(1_000_000)

        progress = fetch.progress()
        assert (progress["done"], progress["total"]) == (1_000_000, len(CONTENT))
        assert progress["speed"] > 0
        text = httpx.get(f"{fetch.url}/metrics", trust_env=False).text
        gauges = {sample.name: sample.value for one in text_string_to_metric_families(text) for sample in one.samples}
        assert gauges["heliograph_fetch_done_bytes"] == 1_000_000
        assert gauges["heliograph_fetch_total_bytes"] == len(CONTENT)
        assert httpx.get(f"{fetch.url}/healthz", trust_env=False).status_code == 200
        assert httpx.get(f"{fetch.url}/models", trust_env=False).status_code == 404

        host.released.set()
        assert fetch.wait()[0] == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_fetch_that_is_ended_is_gone_on_with(host: FileHost, tmp_path: Path, number: signal.Signals) -> None:
    host.hold_after = 1_000_000
    first = start_fetch(tmp_path, spec(host))
    with first.leash:
        first.wait_for_bytes(1_000_000)
        first.leash.send_signal(number)
        if number == signal.SIGTERM:
            assert first.wait() == (FETCH_TEMPORARY, FetchResult("Interrupted"))
        else:
            assert first.leash.wait() == -signal.SIGKILL
    assert first.files() == {}
    host.hold_after = None

    second = start_fetch(tmp_path, spec(host))

    assert ended(second)[0] == 0
    assert second.files() == {"model/dream.gguf": CONTENT}
    start, resumed = host.reads(PATH)
    assert start == 0
    # What the kernel had of the last buffer is all that may be lost.
    assert 1_000_000 - 65_536 <= resumed <= 1_000_000


def test_two_fetches_into_one_volume(host: FileHost, tmp_path: Path) -> None:
    """As two models with the same file would have it."""
    host.hold_after = 1_000_000
    first = start_fetch(tmp_path, spec(host))
    with first.leash:
        first.wait_for_bytes(1_000_000)
        second = start_fetch(tmp_path, spec(host), name="other")
        with second.leash:
            eventually(lambda: len(host.seen) == 3, what="the question of the second fetch")
            host.released.set()
            assert first.wait()[0] == second.wait()[0] == 0

    assert host.reads(PATH) == [0]
    places = [tmp_path / "volume" / "models" / name / "model" / "dream.gguf" for name in ("dream", "other")]
    assert places[0].samefile(places[1])


def small_disk(folder: Path, *, size: str, meanwhile: str = "true") -> list[str]:
    """Return the words of a command that runs another with a file system of this size at a folder.

    Its own namespace lets anybody mount that, and takes it along as it ends.
    """
    folder.mkdir()
    script = f'mount -t tmpfs -o size={size} tmpfs {folder} && {{ ({meanwhile}) & exec "$@"; }}'
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, "--mount", "sh", "-c", script, "sh"]


def test_a_full_disk(host: FileHost, tmp_path: Path) -> None:
    wrapper = small_disk(tmp_path / "volume", size="2m")

    status, result = ended(start_fetch(tmp_path, spec(host), wrapper=wrapper))

    assert (status, result.reason) == (FETCH_TEMPORARY, "DiskFull")
    assert result.message.startswith(FIELD)


def test_a_disk_that_fills_up_in_the_midst(host: FileHost, tmp_path: Path) -> None:
    """By the hand of another, after it was found to have room."""
    volume = tmp_path / "volume"
    ballast = f"until test -s {volume}/partial/*; do sleep 0.1; done; head -c 1500000 /dev/zero > {volume}/ballast"
    host.hold_after = 1_000_000
    fetch = start_fetch(tmp_path, spec(host), wrapper=small_disk(volume, size="4m", meanwhile=ballast))
    inside = Path(f"/proc/{fetch.leash.pid}/root{volume}/ballast")
    with fetch.leash:
        fetch.wait_for_bytes(1_000_000)
        eventually(lambda: inside.exists() and inside.stat().st_size == 1_500_000, what="the ballast")
        host.released.set()
        status, result = fetch.wait()

    assert (status, result.reason) == (FETCH_TEMPORARY, "DiskFull")


def test_room_is_made_for_what_comes(host: FileHost, tmp_path: Path) -> None:
    """Models that are no more give way, but not one that came lately."""
    host.files["/b/old.gguf"] = b"GGUF" + bytes(1000)
    old = {**spec(host), "parameters": {"model": host.url("/b/old.gguf")}}
    for name in ("gone", "kept"):
        assert ended(start_fetch(tmp_path, old, name=name))[0] == 0

    assert ended(start_fetch(tmp_path, spec(host), keep="kept"))[0] == 0
    assert sorted(path.name for path in (tmp_path / "volume" / "models").iterdir()) == ["dream", "gone", "kept"]

    assert ended(start_fetch(tmp_path, spec(host), keep="kept", unchanged_seconds=0))[0] == 0
    assert sorted(path.name for path in (tmp_path / "volume" / "models").iterdir()) == ["dream", "kept"]


def test_what_others_fetched_meanwhile_stays_and_what_is_nobody_s_goes(host: FileHost, tmp_path: Path) -> None:
    assert ended(start_fetch(tmp_path, spec(host), name="other"))[0] == 0
    nobodys = tmp_path / "volume" / "partial" / ("0" * 64)
    nobodys.write_bytes(CONTENT)

    assert ended(start_fetch(tmp_path, spec(host), unchanged_seconds=0))[0] == 0
    assert sorted(path.name for path in (tmp_path / "volume" / "models").iterdir()) == ["dream", "other"]
    assert not nobodys.exists()


def test_a_wrong_digest(host: FileHost, tmp_path: Path) -> None:
    files = [{"filename": "dream.gguf", "uri": host.url(PATH), "sha256": "0" * 64}]
    fetch = start_fetch(tmp_path, spec(host, parameters={"model": "dream.gguf"}, download_files=files))

    status, result = ended(fetch)

    assert (status, result.reason) == (FETCH_PERMANENT, "ChecksumMismatch")
    assert result.message.startswith("spec.download_files[0].uri: ")
    assert DIGEST in result.message
    assert fetch.files() == {}


@pytest.mark.parametrize(
    ("model", "statuses", "status", "reason"),
    [
        ("/missing.gguf", [], FETCH_PERMANENT, "WeightsNotFound"),
        (PATH, [401], FETCH_PERMANENT, "WeightsUnauthorized"),
        (PATH, [503], FETCH_TEMPORARY, "SourceUnreachable"),
        ("/a/dream.ckpt", [], FETCH_PERMANENT, "UnsafeWeights"),
    ],
)
def test_what_keeps_weights_from_being_fetched(  # noqa: PLR0917 - a table
    host: FileHost, tmp_path: Path, model: str, statuses: list[int], status: int, reason: str
) -> None:
    host.failures = statuses
    signed = {**spec(host), "parameters": {"model": f"{host.url(model)}?X-Signature=canary"}}
    fetch = start_fetch(tmp_path, signed)

    ending, result = ended(fetch)

    assert (ending, result.reason) == (status, reason)
    assert result.message.startswith(f"{FIELD}: ")
    assert "canary" not in fetch.log
    assert "Traceback" not in fetch.log


def test_nobody_listens(tmp_path: Path) -> None:
    fetch = start_fetch(tmp_path, {"parameters": {"model": "a/b"}}, environment={"HF_ENDPOINT": "http://127.0.0.1:1"})

    status, result = ended(fetch)
    assert (status, result.reason) == (FETCH_TEMPORARY, "SourceUnreachable")


def test_a_token_is_told_to_the_hub_alone(host: FileHost, tmp_path: Path) -> None:
    """Not to where the hub sends its readers on to, as its own does for large files."""
    commit = add_repository(host, "a/b", {"x.gguf": b"GGUF"})
    host.token = "canary"
    with file_host() as store:
        path = f"/a/b/resolve/{commit}/x.gguf"
        store.files["/store"] = b"GGUF"
        host.redirects[path] = store.url("/store?X-Signature=canary").replace("127.0.0.1", "localhost")
        environment = {"HF_ENDPOINT": host.url(""), "HF_TOKEN": "canary\n"}

        fetch = start_fetch(tmp_path, {"parameters": {"model": "hf://a/b:x"}}, environment=environment)

        assert ended(fetch)[0] == 0
        assert fetch.files() == {"model/b-x.gguf": b"GGUF"}
        assert {seen[2] for seen in host.seen} == {"Bearer canary"}, host.seen
        assert {seen[2] for seen in store.seen} == {""}
        assert "canary" not in fetch.log


def test_a_hub_that_sends_elsewhere_hands_no_token_on(host: FileHost, tmp_path: Path) -> None:
    with file_host() as other:
        add_repository(other, "a/b", {"x.gguf": b"GGUF"})
        host.redirects["/api/models/a/b"] = other.url("/api/models/a/b").replace("127.0.0.1", "localhost")
        environment = {"HF_ENDPOINT": host.url(""), "HF_TOKEN": "canary"}

        ended(start_fetch(tmp_path, {"parameters": {"model": "hf://a/b:x"}}, environment=environment))

        assert {seen[2] for seen in other.seen} <= {""}


def test_a_volume_that_can_not_be_written(host: FileHost, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    status, result = ended(start_fetch(tmp_path, spec(host), volume=tmp_path / "file"))

    assert (status, result.reason) == (FETCH_TEMPORARY, "VolumeUnavailable")


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"parameters": {"model": "ollama://sdxl"}}, "language models"),
        ({"parameters": {"model": "file:///etc/passwd.gguf"}}, "not fetched here"),
        ({"parameters": {"model": "hf://onlyowner"}}, "OWNER/NAME"),
        ({"step": "many"}, "spec.step"),
    ],
)
def test_manifests_that_name_nothing_to_fetch(tmp_path: Path, model: dict[str, Any], told: str) -> None:
    status, result = ended(start_fetch(tmp_path, model))

    assert (status, result.reason) == (FETCH_PERMANENT, "InvalidSource")
    assert told in result.message


def test_a_fetch_ends_with_who_started_it(host: FileHost, tmp_path: Path) -> None:
    """Even when that was killed."""
    host.hold_after = 1000
    fetch = start_fetch(tmp_path, spec(host), wrapper=[sys.executable, "-c", STARTER])

    with fetch.leash:
        fetch.wait_for_bytes(1000)
        fetch.leash.send_signal(signal.SIGKILL)
        eventually(lambda: not fetch.progress(), what="end of the fetch")


STARTER = """\
import subprocess, sys
subprocess.Popen([*sys.argv[1:], "--watch-stdin"], stdin=subprocess.PIPE).wait()
"""
