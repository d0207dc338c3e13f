"""What the development cluster does to its machine, as far as that can be tried without root."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from devcluster import __main__ as command_line
from devcluster import host, installation, machine
from devcluster.cluster import Cluster
from devcluster.installation import outdated
from disk import require_room
from steps import Reporter, StepError


def test_without_root_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for act in (Cluster(tmp_path).up, Cluster(tmp_path).down):
        with pytest.raises(StepError, match=r"needs root: .* a checkout of root's own, as docs/devcluster\.md tells"):
            act()
    assert list(tmp_path.iterdir()) == []


def test_on_another_system_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(StepError, match=r"runs on Linux alone.* kind, k3d .* docs/kubernetes.md"):
        Cluster(tmp_path).up()


def test_a_path_without_room_for_sockets_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(StepError, match=r"longer than the \d+ characters .* HELIOGRAPH_CACHE"):
        Cluster(tmp_path / ("long" * 20)).up()


def test_a_disk_without_room_is_an_error_before_anything_is_written(tmp_path: Path) -> None:
    half, folder = shutil.disk_usage(tmp_path).free * 2 // 3, tmp_path / "yet" / "to-be-made"
    require_room({folder: half}, doing="Writing a part")
    with pytest.raises(StepError, match=rf"^Writing it all takes .* {tmp_path} has .* GB free: .* HELIOGRAPH_CACHE"):
        require_room({folder: half, tmp_path: half}, doing="Writing it all")


def test_ending_no_cluster_is_fine(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    folder = tmp_path_factory.mktemp("c")
    assert Cluster(folder).down() is False
    assert [path.name for path in folder.iterdir()] == ["lock"]


def test_packages_are_named_where_nothing_can_install_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(host, "_which", lambda program: None if program in {"containerd", "runc"} else "/bin/true")
    monkeypatch.setattr(host, "_PLUGIN_FOLDERS", (tmp_path,))
    with pytest.raises(StepError, match=r"no Debian: .* containerd runc containernetworking-plugins$"):
        host.install_packages(Reporter())


APT_GET = """\
#!/bin/sh
stat --format %a . > "$0.mode"
echo "$@" > "$0.arguments"
touch busybox-static_1_all.deb
"""
DPKG_DEB = """\
#!/bin/sh
mkdir -p "$3/bin"
cp "$2" "$3/bin/busybox"
"""


def test_what_root_runs_comes_through_no_folder_that_others_write_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, script in {"apt-get": APT_GET, "dpkg-deb": DPKG_DEB}.items():
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    host.fetch_busybox(tmp_path / "busybox", Reporter())
    assert (tmp_path / "busybox").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "apt-get.mode").read_text() == "700\n"
    assert "APT::Sandbox::User=root download busybox-static" in (tmp_path / "apt-get.arguments").read_text()


@pytest.mark.parametrize("act", ["chart", "wait"])
def test_what_installs_sees_neither_a_proxy_nor_the_users_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, act: str
) -> None:
    cluster = Cluster(tmp_path)
    cluster.layout.bin.mkdir()
    for program in (tmp_path / "helm", cluster.kubectl_program):
        program.write_text('#!/bin/sh\nenv > "$HOME/environment"\n')
        program.chmod(0o755)
    for name in ("HTTPS_PROXY", "HELM_DRIVER", "HELM_KUBECONTEXT", "KUBECONFIG"):
        monkeypatch.setenv(name, "the user's")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    if act == "chart":
        installation._install_charts(cluster, Reporter())
    else:
        installation._wait(cluster, Reporter(), "Waiting", "wait", describe="pod/fill")
    seen = (tmp_path / "environment").read_text()
    assert f"HOME={tmp_path}\n" in seen
    assert "the user's" not in seen


def test_the_command_line_prints_errors_without_a_trace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "argv", ["devcluster", "down"])
    assert command_line.main() == 1
    assert capsys.readouterr().err.startswith("error: the development cluster needs root: ")
    assert machine.main() == 1
    assert capsys.readouterr().err.startswith("error: the development cluster needs root: ")


def pod(name: str, image_id: str, *, owner: str = "ReplicaSet") -> dict[str, object]:
    return {
        "metadata": {"name": name, "ownerReferences": [{"kind": owner}]},
        "spec": {"containers": [{"name": "main", "image": "heliograph-control-plane:0.1.0"}]},
        "status": {"containerStatuses": [{"name": "main", "imageID": image_id}]},
    }


def test_pods_of_an_earlier_build_are_told_from_others() -> None:
    pods = [
        pod("old", "sha256:old"),
        pod("new", "sha256:new"),
        pod("job", "sha256:old", owner="Job"),
        pod("starting", ""),
        pod("pulled", "registry.example.org/heliograph-control-plane@sha256:other"),
    ]
    assert [item["metadata"]["name"] for item in outdated(pods, {"heliograph-control-plane:0.1.0": "sha256:new"})] == [
        "old"
    ]
    assert outdated(pods, {}) == []
