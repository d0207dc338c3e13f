"""`heliograph collect` as a process of its own, and what it does to a volume."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from heliograph_api.exits import FETCH_TEMPORARY
from heliograph_api.weights import RECEIPT
from heliograph_runtime.weights.volume import Receipt, Volume

CONTENTS = {"alone": b"alone", "both": b"of both"}


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    """A volume with the models `old` and `new`, which have one file in common."""
    made = Volume(tmp_path / "volume")
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}
    for name, content in CONTENTS.items():
        with made.partial(name) as partial:
            partial.write_bytes(content)
            made.keep(partial, digests[name])
    made.assemble("old", {"model/alone": digests["alone"], "both": digests["both"]}, revisions={})
    made.assemble("new", {"model/deep/both": digests["both"]}, revisions={})
    return made


def collect(tmp_path: Path, *remove: str, wait: float = 0) -> subprocess.CompletedProcess[str]:
    options = ["--volume", str(tmp_path / "volume"), "--remove", ",".join(remove), "--wait-seconds", str(wait)]
    command = [sys.executable, "-P", "-m", "heliograph", "collect", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def present(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "volume" / "models").iterdir()}


def blobs(tmp_path: Path) -> set[bytes]:
    return {path.read_bytes() for path in (tmp_path / "volume" / "blobs").iterdir()}


@pytest.mark.usefixtures("volume")
def test_a_folder_goes_with_what_no_other_holds(tmp_path: Path) -> None:
    done = collect(tmp_path, "old", "never-there")

    assert done.returncode == 0, done.stderr
    assert present(tmp_path) == {"new"}
    assert blobs(tmp_path) == {b"of both"}
    assert {path.name for path in (tmp_path / "volume" / "known").iterdir()} == {"both"}
    assert (tmp_path / "volume/models/new/model/deep/both").read_bytes() == b"of both"


def test_what_there_is_of_a_model_that_was_not_fetched_to_the_end(volume: Volume, tmp_path: Path) -> None:
    for name, keys in {"half": ["ours", "whole", "common", "both"], "other": ["common"]}.items():
        volume.begin(name, keys)
    for key in ("ours", "common"):
        with volume.partial(key) as partial:
            partial.write_bytes(b"part of it")
    with volume.partial("whole") as partial:
        partial.write_bytes(b"whole")
        volume.keep(partial, hashlib.sha256(b"whole").hexdigest())

    assert collect(tmp_path, "half").returncode == 0

    assert {path.name for path in (tmp_path / "volume" / "partial").iterdir()} == {"common"}
    assert blobs(tmp_path) == set(CONTENTS.values())
    assert [path.name for path in (tmp_path / "volume" / "fetching").iterdir()] == ["other"]


def test_while_others_fetch(volume: Volume, tmp_path: Path) -> None:
    """Who fetches may be about to use content that nobody holds yet."""
    with volume.in_use():
        done = collect(tmp_path, "old")
        assert (done.returncode, present(tmp_path)) == (FETCH_TEMPORARY, {"old", "new"})
        assert "fetches are at work" in done.stderr
    assert collect(tmp_path, "old").returncode == 0
    assert present(tmp_path) == {"new"}


def test_a_collection_that_was_ended_is_gone_on_with(volume: Volume, tmp_path: Path) -> None:
    volume.folder("old").rename(tmp_path / "volume/models/.old.removing")
    (tmp_path / "volume/models/.old.removing/model/alone").unlink()

    assert Receipt.read(volume.folder("old")) is None, "what is there of it does not pass for the model"
    assert collect(tmp_path, "old").returncode == 0
    assert present(tmp_path) == {"new"}
    assert blobs(tmp_path) == {b"of both"}


def test_a_link_out_of_the_volume_is_removed_and_not_followed(volume: Volume, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    (volume.folder("old") / "link").symlink_to(outside)
    (tmp_path / "volume/models/linked").symlink_to(outside)

    assert collect(tmp_path, "old", "linked").returncode == 0
    assert present(tmp_path) == {"new"}
    assert (outside / "file").exists()


@pytest.mark.parametrize("name", ["..", "a/b", ".old.removing", ""])
@pytest.mark.usefixtures("volume")
def test_what_is_no_folder_of_a_model_is_refused(tmp_path: Path, name: str) -> None:
    done = collect(tmp_path, name)

    assert done.returncode == 2
    assert "remove" in done.stderr
    assert present(tmp_path) == {"old", "new"}


def test_a_volume_that_can_not_be_used(tmp_path: Path) -> None:
    (tmp_path / "volume").touch()

    done = collect(tmp_path, "old")

    assert done.returncode == FETCH_TEMPORARY
    assert "the volume can't be used" in done.stderr


def test_a_receipt_that_can_not_be_read(volume: Volume, tmp_path: Path) -> None:
    (volume.folder("old") / RECEIPT).unlink()
    (volume.folder("old") / RECEIPT).write_text("{")

    assert collect(tmp_path, "old").returncode == 0
    assert present(tmp_path) == {"new"}
