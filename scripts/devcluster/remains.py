"""What a node leaves in the kernel and in shared folders when its programs are gone: mounts, control groups, links."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from devcluster.layout import NETWORK_NAME, Layout
from steps import StepError

_CGROUPS = Path("/sys/fs/cgroup")
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
    for _ in range(20):
        points = mounts_below(folders, Path("/proc/self/mountinfo").read_text())
        if not points:
            return
        for point in points:
            subprocess.run(["umount", point], capture_output=True, check=False)
        time.sleep(0.1)
    left = mounts_below(folders, Path("/proc/self/mountinfo").read_text())
    if left:
        raise StepError(f"still mounted, since something uses it: {', '.join(map(str, left[:5]))}")


def pod_groups() -> list[Path]:
    """Return the control groups of pods, the innermost first; in version 1 each controller has its own."""
    unified = (_CGROUPS / "cgroup.controllers").exists()
    tops = _CGROUPS.glob("kubepods" if unified else "*/kubepods")
    return [Path(folder) for top in tops for folder, _, _ in os.walk(top, topdown=False)]


def end_pods() -> None:
    """End whatever still runs in a pod and remove the pods' control groups.

    Raises:
        StepError: When a process does not end.
    """
    groups: list[Path] = []
    for _ in range(100):
        groups = pod_groups()
        if not groups:
            return
        for group in groups:
            for pid in (group / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            with contextlib.suppress(OSError):
                group.rmdir()
        time.sleep(0.1)
    raise StepError(f"a process in {groups[0]} cannot be ended")


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
    for name in ("kubelet.sock", "kubelet_internal_checkpoint"):
        (_DEVICE_PLUGINS / name).unlink(missing_ok=True)
    for folder in (_CONTAINER_LOGS, _NETWORK_RESULTS, _DEVICE_PLUGINS, _SHIM_SOCKETS):
        for path in (folder, folder.parent):
            with contextlib.suppress(OSError):  # others use it, or it is not there
                path.rmdir()


def remove_files(layout: Layout) -> None:
    """Remove the files of the cluster, but not those that outlive it; the mounts are gone by now."""
    for path in (layout.run, *layout.ends_with_the_cluster):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
