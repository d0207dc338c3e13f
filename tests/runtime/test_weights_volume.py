import fcntl
import hashlib
import os
import time
from pathlib import Path

import pytest

from heliograph_api.weights import RECEIPT
from heliograph_runtime.weights.progress import Progress
from heliograph_runtime.weights.volume import Receipt, Volume

CONTENT = b"weights"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    made = Volume(tmp_path)
    with made.partial("key") as partial:
        partial.write_bytes(CONTENT)
        made.keep(partial, DIGEST)
    return made


def make_old(*paths: Path) -> None:
    for path in paths:
        os.utime(path, (time.time() - 7200,) * 2)


def test_a_model(volume: Volume) -> None:
    receipt = volume.assemble("dream", {"model/a": DIGEST, "b": DIGEST}, revisions={"field": "commit"})

    assert receipt == Receipt(2 * len(CONTENT), {"model/a": DIGEST, "b": DIGEST}, {"field": "commit"})
    assert Receipt.read(volume.folder("dream")) == receipt
    assert (volume.folder("dream") / "model/a").read_bytes() == CONTENT


def test_a_model_that_another_made_meanwhile_stays_as_it_is(volume: Volume) -> None:
    volume.assemble("dream", {"a": DIGEST}, revisions={"field": "first"})
    volume.assemble("dream", {"a": DIGEST}, revisions={"field": "second"})

    found = Receipt.read(volume.folder("dream"))
    assert found is not None
    assert found.revisions == {"field": "first"}
    assert [path.name for path in volume.folder("dream").parent.iterdir()] == ["dream"]


def test_a_folder_that_can_not_be_made(volume: Volume) -> None:
    """As when something else has its name: no receipt may claim that the model is there."""
    volume.folder("dream").write_text("")

    with pytest.raises(NotADirectoryError):
        volume.assemble("dream", {"a": DIGEST}, revisions={})
    assert [path.name for path in volume.folder("dream").parent.iterdir()] == ["dream"]


@pytest.mark.parametrize("digest", ["../models/dream/a", "", ".", DIGEST.upper(), f"{DIGEST}/../{DIGEST}"])
def test_a_source_that_tells_a_path_for_a_digest_gets_nobody_elses_file(volume: Volume, digest: str) -> None:
    volume.assemble("dream", {"a": DIGEST}, revisions={})

    assert volume.blob(DIGEST) is not None
    assert volume.blob(digest) is None


def test_a_fetch_that_is_ended_as_a_file_is_whole_can_be_gone_on_with(volume: Volume, tmp_path: Path) -> None:
    with volume.partial("other") as partial:
        partial.write_bytes(b"other")
    (tmp_path / "blobs").rename(tmp_path / "away")

    with pytest.raises(FileNotFoundError):
        volume.keep(partial, hashlib.sha256(b"other").hexdigest())

    assert partial.stat().st_mode & 0o200, "only its owner may write it, and must"
    assert volume.known("other") is None


def test_content_that_comes_twice_lies_there_once(volume: Volume, tmp_path: Path) -> None:
    volume.assemble("dream", {"a": DIGEST}, revisions={})
    with volume.partial("from elsewhere") as partial:
        partial.write_bytes(CONTENT)
        volume.keep(partial, DIGEST)

    assert volume.known("from elsewhere") == DIGEST
    assert (tmp_path / "blobs" / DIGEST).samefile(volume.folder("dream") / "a")
    assert list((tmp_path / "partial").iterdir()) == []


@pytest.mark.parametrize("receipt", ["", "{", "[]", '{"bytes": 1}'])
def test_a_folder_whose_receipt_can_not_be_read_is_made_anew(volume: Volume, receipt: str) -> None:
    volume.folder("dream").mkdir()
    (volume.folder("dream") / RECEIPT).write_text(receipt)
    assert Receipt.read(volume.folder("dream")) is None

    made = volume.assemble("dream", {"a": DIGEST}, revisions={})

    assert Receipt.read(volume.folder("dream")) == made
    assert (volume.folder("dream") / "a").read_bytes() == CONTENT


def test_what_killed_fetches_left_is_removed_when_it_is_old(volume: Volume, tmp_path: Path) -> None:
    left = [tmp_path / "models" / ".dream.0", tmp_path / "partial" / "old", tmp_path / "blobs" / DIGEST]
    left[0].mkdir()
    (left[0] / "file").write_bytes(CONTENT)
    left[1].write_bytes(CONTENT)
    make_old(*left)
    young = tmp_path / "partial" / "young"
    young.write_bytes(CONTENT)

    assert volume.collect((), unchanged_seconds=3600) == 2 * len(CONTENT)

    assert not any(path.exists() for path in left)
    assert young.exists()
    assert volume.known("key") is None
    assert list((tmp_path / "known").iterdir()) == []


def test_all_models_stay_where_others_fetch_too_and_what_there_is_of_those_to_come(
    volume: Volume, tmp_path: Path
) -> None:
    volume.assemble("old", {"a": DIGEST}, revisions={})
    volume.begin("coming", ["half", "whole"])
    other = hashlib.sha256(b"other").hexdigest()
    with volume.partial("whole") as partial:
        partial.write_bytes(b"other")
        volume.keep(partial, other)
    stay = [tmp_path / "partial" / "half", tmp_path / "blobs" / other, tmp_path / "fetching" / "coming"]
    of_another_commit = hashlib.sha256(b"of another commit").hexdigest()
    go = [tmp_path / "models" / f".old.{'0' * 32}", tmp_path / "partial" / of_another_commit]
    stay += [tmp_path / "models" / ".cache", tmp_path / "blobs" / f"sha256-{other}"]  # of another program's
    stay[3].mkdir()
    stay[4].write_bytes(CONTENT)
    stay[0].write_bytes(CONTENT)
    go[0].mkdir()
    go[1].write_bytes(CONTENT)
    make_old(volume.folder("old"), *stay, *go)

    assert volume.collect(None, unchanged_seconds=3600) == len(CONTENT)

    assert all(path.exists() for path in (volume.folder("old") / "a", *stay))
    assert not any(path.exists() for path in go)
    assert volume.remove("coming") == len(CONTENT) + len(b"other"), "it is there until the model is given up"


def test_what_killed_fetches_of_a_model_left_goes_with_it(volume: Volume, tmp_path: Path) -> None:
    volume.assemble("dream", {"a": DIGEST}, revisions={})
    left, other = (tmp_path / "models" / f".{name}.{'0' * 32}" for name in ("dream", "dream.b"))
    for folder in (left, other):
        folder.mkdir()
    (left / "a").hardlink_to(tmp_path / "blobs" / DIGEST)

    assert volume.remove("dream") == len(CONTENT), "no link is left that would keep it"

    assert [path.name for path in (tmp_path / "models").iterdir()] == [other.name]


def test_content_that_an_old_model_shares_with_a_new_one_stays(volume: Volume, tmp_path: Path) -> None:
    volume.assemble("old", {"a": DIGEST}, revisions={})
    volume.assemble("new", {"b": DIGEST}, revisions={})
    make_old(volume.folder("old"), tmp_path / "blobs" / DIGEST)

    assert volume.collect((), unchanged_seconds=3600) == 0

    assert [path.name for path in (tmp_path / "models").iterdir()] == ["new"]
    assert volume.known("key") == DIGEST


def test_a_volume_whose_locks_are_those_of_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As NFS has them; see flock(2), NOTES."""
    monkeypatch.setattr(fcntl, "flock", fcntl.lockf)
    volume = Volume(tmp_path)

    with volume.in_use(), volume.partial("key") as partial:
        partial.write_bytes(CONTENT)
        volume.keep(partial, DIGEST)
    volume.assemble("dream", {"a": DIGEST}, revisions={})

    assert volume.remove("dream") == len(CONTENT)
    assert volume.collect((), unchanged_seconds=0) == 0


def test_speed_is_of_what_came_and_not_of_what_was_there() -> None:
    progress = Progress()
    progress.expect(3000)
    progress.add(2000)
    assert progress.state().speed == 0

    progress.arrive(500)

    state = progress.state()
    assert (state.done, state.total) == (2500, 3000)
    assert state.speed > 0
