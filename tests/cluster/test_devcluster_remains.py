"""What the development cluster takes away of mounts, control groups and files, and what it leaves to others."""

import subprocess
from pathlib import Path

import pytest

from devcluster import remains
from devcluster.layout import Layout
from steps import StepError


def test_mounts_are_found_innermost_first_and_only_below_the_folders() -> None:
    lines = [
        "20 1 254:0 / / rw - ext4 /dev/vda rw",
        "21 20 0:1 / /cache/dev\\040cluster/kubelet rw shared:1 - tmpfs tmpfs rw",
        "22 21 0:2 / /cache/dev\\040cluster/kubelet/pods/a rw - tmpfs tmpfs rw",
        "23 20 0:3 / /cache/dev\\040cluster-of-others rw - tmpfs tmpfs rw",
        "24 20 0:4 / /run/cluster/netns/x rw - nsfs nsfs rw",
    ]
    found = remains.mounts_below([Path("/cache/dev cluster"), Path("/run/cluster")], "\n".join(lines) + "\n")
    assert found == [
        Path("/run/cluster/netns/x"),
        Path("/cache/dev cluster/kubelet/pods/a"),
        Path("/cache/dev cluster/kubelet"),
    ]


def test_links_in_the_clusters_paths_are_followed_as_the_kernel_does(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    layout = Layout(tmp_path / "link" / "devcluster", run=tmp_path / "link" / "run")
    assert (layout.root, layout.run) == (tmp_path / "real" / "devcluster", tmp_path / "real" / "run")


def test_files_that_somebody_mounted_below_are_not_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "root", run=tmp_path / "run")
    kept = layout.volumes / "claim" / "data"
    kept.parent.mkdir(parents=True)
    kept.touch()
    mountinfo = tmp_path / "mountinfo"
    monkeypatch.setattr(remains, "_MOUNTS", mountinfo)
    mountinfo.write_text(f"20 1 254:0 / / rw - ext4 /dev/vda rw\n21 20 0:1 / {kept.parent} rw - tmpfs tmpfs rw\n")
    with pytest.raises(StepError, match=rf"still mounted, since something uses it: {kept.parent}$"):
        remains.remove_files(layout)
    assert kept.exists()
    mountinfo.write_text("20 1 254:0 / / rw - ext4 /dev/vda rw\n")
    remains.remove_files(layout)
    assert not layout.volumes.exists()


@pytest.mark.parametrize("controller", ["", "memory"])
def test_pods_of_another_kubelet_are_not_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, controller: str
) -> None:
    groups = tmp_path / "cgroup"
    monkeypatch.setattr(remains, "_CGROUPS", groups)
    layout = Layout(tmp_path / "root", run=tmp_path / "run")
    (layout.kubelet / "pods" / "ours").mkdir(parents=True)
    top = groups / controller / "kubepods"
    (top / "burstable" / "podours").mkdir(parents=True)
    if not controller:
        (groups / "cgroup.controllers").touch()
    assert remains.is_node()
    with subprocess.Popen(["sleep", "1000"]) as other:
        try:
            theirs = top / "burstable" / "podtheirs"
            theirs.mkdir()
            (theirs / "cgroup.procs").write_text(f"{other.pid}\n")
            remains.end_pods(layout)
            assert other.poll() is None
        finally:
            other.kill()
    assert [path.name for path in (top / "burstable").iterdir()] == ["podtheirs"]
    (theirs / "cgroup.procs").unlink()
    remains.end_pods(layout)
    assert not remains.is_node(), "groups that nobody uses are what a crash left"


def test_nodes_of_the_kubelets_other_driver_are_nodes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(remains, "_CGROUPS", tmp_path)
    assert not remains.is_node()
    (tmp_path / "cgroup.controllers").touch()
    (tmp_path / "kubepods.slice").mkdir()
    assert remains.is_node()
