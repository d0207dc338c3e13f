"""What a node leaves in the kernel and in shared folders when its programs are gone: mounts, control groups, links."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from devcluster.layout import NETWORK_NAME, Layout
from steps import StepError

_CGROUPS = Path("/sys/fs/cgroup")
_MOUNTS = Path("/proc/self/mountinfo")
_CONTAINER_LOGS = Path("/var/log/containers")
_DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins")
_NETWORK_RESULTS = Path("/var/lib/cni/results")
_SHIM_SOCKETS = Path("/run/containerd/s")


def mounts_below(folders: Sequence[Path], mountinfo: str) -> list[Path]:
    """Return the mount points below folders, those that were mounted last first.

    Args:
        folders: Absolute paths.
        mountinfo: Content of /proc/self/mountinfo, in which octal numbers stand for blanks and the like.
    """
    fields = [line.split()[4] for line in mountinfo.splitlines()]
    points = [Path(re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), field)) for field in fields]
    return [point for point in reversed(points) if any(point.is_relative_to(folder) for folder in folders)]


def unmount(folders: Sequence[Path]) -> None:
    """Unmount everything below folders.

    Raises:
        StepError: When something is still mounted then.
    """
    folders = [folder.resolve() for folder in folders]
    for _ in range(20):
        points = mounts_below(folders, _MOUNTS.read_text())
        if not points:
            return
        for point in points:
            subprocess.run(["umount", point], capture_output=True, check=False)
        time.sleep(0.1)
    _check_unmounted(folders)


def _check_unmounted(folders: Sequence[Path]) -> None:
    left = mounts_below([folder.resolve() for folder in folders], _MOUNTS.read_text())
    if left:
        raise StepError(f"still mounted, since something uses it: {', '.join(map(str, left[:5]))}")


def is_node() -> bool:
    """Return whether the machine is a node: there are control groups of pods, by either driver of the kubelet."""
    return any(_tops("kubepods")) or any(_tops("kubepods.slice"))


def _tops(name: str) -> list[Path]:
    """Return the control groups of a name; in version 1 each controller has its own."""
    unified = (_CGROUPS / "cgroup.controllers").exists()
    return list(_CGROUPS.glob(name if unified else f"*/{name}"))


def _pod_groups() -> list[Path]:
    """Return the control groups for pods of a kubelet such as ours, the innermost first."""
    return [Path(folder) for top in _tops("kubepods") for folder, _, _ in os.walk(top, topdown=False)]


def end_pods(layout: Layout) -> None:
    """End whatever still runs in a pod of our kubelet, and remove control groups for pods that nobody uses then.

    Raises:
        StepError: When a process does not end.
    """
    pods = layout.kubelet / "pods"
    names = {f"pod{pod.name}" for pod in pods.iterdir()} if pods.is_dir() else set()
    deadline = time.monotonic() + 10
    while ours := [group for group in _pod_groups() if names.intersection(group.parts)]:
        if time.monotonic() > deadline:
            raise StepError(f"a process in {ours[0]} cannot be ended")
        for group in ours:
            for pid in _members(group):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        _remove_groups(ours)
        time.sleep(0.1)
    groups = _pod_groups()
    if not any(_members(group) for group in groups):
        _remove_groups(groups)


def _members(group: Path) -> list[int]:
    try:
        # 0 stands for a process outside of our namespace, and for ourselves where one is ended.
        return [int(pid) for pid in (group / "cgroup.procs").read_text().split() if pid != "0"]
    except OSError:  # it was removed just now
        return []


def _remove_groups(groups: Collection[Path]) -> None:
    for group in groups:
        with contextlib.suppress(OSError):  # a process in it has not ended yet
            group.rmdir()


def shim_sockets(layout: Layout) -> list[Path]:
    """Return the sockets of the processes that watch over containers; containerd has no setting for their folder."""
    named = layout.containerd_state.glob("io.containerd.runtime.v2.task/*/*/address")
    addresses = [Path(file.read_text().strip().removeprefix("unix://")) for file in named]
    return [address for address in addresses if address.parent == _SHIM_SOCKETS]


def remove_shared(layout: Layout) -> None:
    """Remove what is ours in folders for which the kubelet and the network plug-ins have no setting."""
    for link in _CONTAINER_LOGS.glob("*.log"):
        if link.is_symlink() and link.readlink().is_relative_to(layout.pod_logs):
            link.unlink()
    # NETWORK-POD-INTERFACE; each pod has one of the loopback's network, too, whose name is everybody's.
    pods = [result.name.split("-")[-2] for result in _NETWORK_RESULTS.glob(f"{NETWORK_NAME}-*")]
    for pod in pods:
        for result in _NETWORK_RESULTS.glob(f"*-{pod}-*"):
            result.unlink()
    if not _is_served(_DEVICE_PLUGINS / "kubelet.sock"):
        for name in ("kubelet.sock", "kubelet_internal_checkpoint"):
            (_DEVICE_PLUGINS / name).unlink(missing_ok=True)
    for folder in (_CONTAINER_LOGS, _NETWORK_RESULTS, _DEVICE_PLUGINS, _SHIM_SOCKETS):
        for path in (folder, folder.parent):
            with contextlib.suppress(OSError):  # others use it, or it is not there
                path.rmdir()


def _is_served(path: Path) -> bool:
    """Return whether a process listens at a socket; another kubelet may have taken the place of ours."""
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
        client.settimeout(1.0)
        client.connect(str(path))
        return True
    return False


def remove_files(layout: Layout) -> None:
    """Remove the files of the cluster, but not those that outlive it.

    Raises:
        StepError: When something is mounted below them, which would be emptied; nothing is removed then.
    """
    paths = (layout.run, *layout.ends_with_the_cluster)
    _check_unmounted(paths)
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
