"""What the machine must have: itself for this cluster alone, and a few programs, which Debian's packages bring."""

import os
import shlex
import shutil
import socket
import stat
import subprocess
import tempfile
from pathlib import Path

from devcluster import network, processes, remains
from devcluster.layout import Layout
from devcluster.node_programs import PORTS
from steps import Reporter, StepError, run

_PACKAGES = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables-save": "iptables",
    "ip6tables-save": "iptables",
    "ip": "iproute2",
    "mount": "mount",
    "setsid": "util-linux",
}
"""The package of each program."""
_PLUGIN_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
_PLUGINS = ("ptp", "host-local", "portmap", "firewall", "loopback")
_BUSYBOX = "busybox-static"


def check_no_other(layout: Layout) -> None:
    """Make sure that no development cluster runs that keeps its files elsewhere.

    Raises:
        StepError: When one does.
    """
    others = [program for program in processes.marked() if program.root != layout.root]
    if others:
        other = others[0].root
        pids = ",".join(str(program.pid) for program in others if program.root == other)
        how = (
            f"end it with `HELIOGRAPH_CACHE={shlex.quote(str(other.parent))} make cluster-down`"
            if _is_own_cache(other)
            else f"its folder is gone or not root's alone, so end its processes: `ps -fp {pids}` shows them"
        )
        raise StepError(f"the development cluster of {other} runs on this machine, which has room for one: {how}")


def _is_own_cache(root: Path) -> bool:
    """Return whether a cluster's folder is one that nobody but us can have filled."""
    try:
        found = [path.lstat() for path in (root, root.parent)]
    except OSError:
        return False
    writable = stat.S_IWGRP | stat.S_IWOTH
    return root.name == "devcluster" and all(
        stat.S_ISDIR(entry.st_mode) and entry.st_uid == os.geteuid() and not entry.st_mode & writable for entry in found
    )


def check_addresses(layout: Layout) -> None:
    """Make sure that the cluster's addresses are free, unless it has them already.

    Raises:
        StepError: When somebody else has one.
    """
    if not _is_begun(layout):
        network.check_addresses()


def _is_begun(layout: Layout) -> bool:
    """Return whether this cluster, or what a crash left of it, is what there is on the machine."""
    return bool(processes.of(layout.root) or network.recorded(layout))


def check_alone(layout: Layout) -> None:
    """Make sure that no other cluster has this machine for its node.

    Raises:
        StepError: When one has.
    """
    check_no_other(layout)
    if _is_begun(layout):
        return
    if remains.is_node():
        raise StepError(
            "this machine is the node of another Kubernetes cluster, or was one (there are control groups of pods);"
            " use that cluster, or another machine"
        )
    taken = [str(port) for port in PORTS if _is_taken(port)]
    if taken:
        raise StepError(
            f"other programs listen at TCP port {', '.join(taken)}, which the cluster needs: `ss -ltnp` shows which;"
            " end them, or use another machine"
        )


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        # What a server leaves for a minute after its end is no obstacle to the next one.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
            probe.listen()
        except OSError:
            return True
    return False


def install_packages(reporter: Reporter) -> None:
    """Install what is missing.

    Raises:
        StepError: When this is no Debian, or apt-get fails.
    """
    missing = sorted({package for program, package in _PACKAGES.items() if not _which(program)})
    if not _find_plugins():
        missing.append("containernetworking-plugins")
    if not missing:
        return
    names = " ".join(missing)
    if not shutil.which("apt-get"):
        raise StepError(f"missing on this machine, which is no Debian: what Debian has in its packages {names}")
    apt_get("update", reporter=reporter, doing="Reading Debian's package lists")
    apt_get("install", "--yes", "--no-install-recommends", *missing, reporter=reporter, doing=f"Installing {names}")


def apt_get(*arguments: str, reporter: Reporter, doing: str) -> None:
    """Run apt-get without questions.

    Raises:
        StepError: When it fails.
    """
    run(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", *arguments], reporter=reporter, doing=doing)


def plugin_folder() -> Path:
    """Return the folder of the network plug-ins.

    Raises:
        StepError: When they are not installed.
    """
    if folder := _find_plugins():
        return folder
    raise StepError(f"the network plug-ins {', '.join(_PLUGINS)} are in none of {', '.join(map(str, _PLUGIN_FOLDERS))}")


def _find_plugins() -> Path | None:
    return next((folder for folder in _PLUGIN_FOLDERS if all((folder / name).exists() for name in _PLUGINS)), None)


def _which(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def fetch_busybox(target: Path, reporter: Reporter) -> None:
    """Get Debian's static busybox without installing it, since that would replace the machine's own.

    Raises:
        StepError: When the package cannot be had.
    """
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise StepError(f"the image with a shell is made of Debian's package {_BUSYBOX}, and this machine is no Debian")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Nobody else may write to the folder, not even the user that apt downloads as otherwise.
        get = f'cd "$0" && apt-get --quiet --option APT::Sandbox::User=root download {_BUSYBOX}'
        download: list[str | Path] = ["sh", "-c", get, folder]
        try:
            run(download, reporter=reporter, doing=f"Getting {_BUSYBOX}")
        except StepError:
            apt_get("update", reporter=reporter, doing="Reading Debian's package lists")
            run(download, reporter=reporter, doing=f"Getting {_BUSYBOX}")
        (package,) = folder.glob("*.deb")
        extract: list[str | Path] = ["dpkg-deb", "--extract", package, folder / "content"]
        run(extract, reporter=reporter, doing="Unpacking it")
        found = next(path for path in (folder / "content").glob("**/bin/busybox") if path.is_file())
        draft = target.with_suffix(".new")
        shutil.copyfile(found, draft)
        draft.chmod(0o755)
        draft.replace(target)


def applets(busybox: Path) -> list[str]:
    """Return the names of the commands that a busybox holds."""
    done = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    return done.stdout.split()
