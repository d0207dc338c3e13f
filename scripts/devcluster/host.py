"""What the machine must have: itself for this cluster alone, and a few programs, which Debian's packages bring."""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from devcluster import processes, remains
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
    if others := {program.root for program in processes.marked()} - {layout.root}:
        other = others.pop()
        raise StepError(
            f"the development cluster of {other} runs on this machine, which has room for one:"
            f" end it with `HELIOGRAPH_CACHE={other.parent} make cluster-down`"
        )


def check_alone(layout: Layout) -> None:
    """Make sure that no other cluster has this machine for its node.

    Raises:
        StepError: When one has.
    """
    check_no_other(layout)
    if processes.of(layout.root) or layout.before.exists():
        return
    if remains.pod_groups():
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
        # apt gives up its rights for the download.
        folder.chmod(0o777)
        download: list[str | Path] = ["sh", "-c", f'cd "$0" && apt-get --quiet download {_BUSYBOX}', folder]
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
