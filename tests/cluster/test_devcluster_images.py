"""Images made of a few files, and what containerd is asked for."""

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from devcluster.containerd import has_images, unused_names
from devcluster.image_tar import read_images, write_image


@pytest.fixture
def program(tmp_path: Path) -> Path:
    file = tmp_path / "program"
    file.write_bytes(b"#!/bin/sh\n")
    return file


def write(path: Path, program: Path, **changed: str) -> str:
    image = write_image(
        path,
        repository="example/program",
        programs={"/bin/program": program},
        links={"/bin/other": "program"},
        entrypoint=["/bin/program"],
        user=changed.get("user", "65532:65532"),
    )
    assert image.path == path
    assert image.name == f"example/program:{image.digest.removeprefix('sha256:')[:12]}"
    return image.digest


def test_an_archive_holds_what_its_digests_say(tmp_path: Path, program: Path) -> None:
    digest = write(tmp_path / "image.tar", program)
    with tarfile.open(tmp_path / "image.tar") as archive:
        contents = {entry.name: archive.extractfile(entry) for entry in archive}
        held = {name: file.read() for name, file in contents.items() if file}
    (manifest,) = json.loads(held["manifest.json"])
    config = json.loads(held[manifest["Config"]])
    (layer,) = manifest["Layers"]
    assert digest == f"sha256:{hashlib.sha256(held[manifest['Config']]).hexdigest()}"
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(held[layer]).hexdigest()}"]
    assert config["config"]["Entrypoint"] == ["/bin/program"]
    assert config["config"]["User"] == "65532:65532"


def test_its_layer_is_roots_and_has_no_times(tmp_path: Path, program: Path) -> None:
    write(tmp_path / "image.tar", program)
    with tarfile.open(tmp_path / "image.tar") as archive:
        file = archive.extractfile("layer.tar")
        assert file
        with tarfile.open(fileobj=file) as layer:
            entries = {entry.name: entry for entry in layer}
    assert list(entries) == ["bin", "tmp", "bin/program", "bin/other"]
    assert {(entry.uid, entry.gid, entry.mtime) for entry in entries.values()} == {(0, 0, 0)}
    assert entries["bin/program"].mode == 0o755
    assert entries["tmp"].mode == 0o1777
    assert (entries["bin/other"].issym(), entries["bin/other"].linkname) == (True, "program")


def test_the_same_files_are_the_same_image(tmp_path: Path, program: Path) -> None:
    assert write(tmp_path / "one.tar", program) == write(tmp_path / "two.tar", program)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    assert write(tmp_path / "three.tar", program, user="0:0") != write(tmp_path / "one.tar", program)
    program.write_bytes(b"#!/bin/sh\nexit 1\n")
    assert write(tmp_path / "four.tar", program) not in {write(tmp_path / "three.tar", program, user="0:0")}
    assert read_images(tmp_path / "four.tar") != read_images(tmp_path / "one.tar")


def test_an_archive_that_is_current_is_not_written_again(tmp_path: Path, program: Path) -> None:
    path = tmp_path / "image.tar"
    write(path, program)
    first = path.stat().st_ino, path.stat().st_mtime_ns
    write(path, program)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == first
    old = path.read_bytes()
    write(path, program, user="0:0")
    assert path.read_bytes() != old
    path.write_bytes(b"no archive")
    write(path, program)
    assert path.read_bytes() == old


def test_reading_finds_what_was_written(tmp_path: Path, program: Path) -> None:
    digest = write(tmp_path / "image.tar", program)
    (image,) = read_images(tmp_path / "image.tar")
    assert (image.digest, image.name.partition(":")[0]) == (digest, "example/program")


@pytest.mark.parametrize("content", [b"", b"no archive at all"])
def test_what_is_no_archive_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="no image archive as `docker save` writes it"):
        read_images(path)


def test_an_archive_without_a_manifest_is_an_error(tmp_path: Path, program: Path) -> None:
    with tarfile.open(tmp_path / "image.tar", "w") as archive:
        archive.add(program, arcname="program")
    with pytest.raises(ValueError, match=r"manifest\.json"):
        read_images(tmp_path / "image.tar")


TARGETS = {
    "example.org/devcluster/pause:old": "sha256:m1",
    "example.org/devcluster/pause:new": "sha256:m2",
    "example.org/library/devcluster:1": "sha256:m3",
    "sha256:c1": "sha256:m1",
    "sha256:c2": "sha256:m2",
    "sha256:c3": "sha256:m3",
}


def test_an_image_is_there_when_its_name_and_its_digest_lead_to_the_same() -> None:
    assert has_images(TARGETS, {"devcluster/pause:new": "sha256:c2"})
    assert has_images(TARGETS, {"devcluster/pause:old": "sha256:c1", "devcluster:1": "sha256:c3"})
    assert not has_images(TARGETS, {"devcluster/pause:new": "sha256:c1"}), "another build has the name"
    assert not has_images(TARGETS, {"pause:new": "sha256:c9"}), "the kubelet does not know it yet"
    assert not has_images(TARGETS, {"absent:1": "sha256:absent"})


def test_images_of_earlier_builds_go_and_nobody_elses() -> None:
    assert unused_names(TARGETS, "devcluster", ["devcluster/pause:new"]) == [
        "example.org/devcluster/pause:old",
        "sha256:c1",
    ]
    same = TARGETS | {"example.org/devcluster/pause:new": "sha256:m1"}
    assert unused_names(same, "devcluster", ["devcluster/pause:new"]) == ["example.org/devcluster/pause:old"]
    assert unused_names(TARGETS, "other", []) == []
