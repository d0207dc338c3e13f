"""What only root on the node sees and does: the processes of containers."""

import os
import signal
from pathlib import Path

from node.kubectl import Object


def processes(pod: Object) -> list[int]:
    """Return the process ids on the node of a pod's first container, that of its own process 1 first."""
    container = pod["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
    found = [(inner, pid) for pid in _pids() if container in _read(pid, "cgroup") and (inner := _innermost(pid))]
    return [pid for _, pid in sorted(found)]


def kill(pid: int) -> None:
    """End a process at once."""
    os.kill(pid, signal.SIGKILL)


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _innermost(pid: int) -> int | None:
    """Return the id that a process has in its own container."""
    line = next((line for line in _read(pid, "status").splitlines() if line.startswith("NSpid:")), "")
    return int(line.split()[-1]) if line else None


def _read(pid: int, file: str) -> str:
    try:
        return Path(f"/proc/{pid}/{file}").read_text()
    except OSError:  # it has ended by now
        return ""
