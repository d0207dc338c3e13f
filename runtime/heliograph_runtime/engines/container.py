"""What this process really has of its machine: the CPUs and the memory that its container is allowed.

Libraries ask the machine, which in a pod is the whole node. The limits are read as the kernel shows them, in control
groups of version 2 or 1; a limit anywhere between the process's group and the root counts.
"""

import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")
_NO_LIMIT = 1 << 60
"""Version 1 writes about 2**63 for no limit."""


def count_cpus(root: Path = _ROOT) -> int:
    """Return how many CPUs can be kept busy: those that the process may run on, less what its quota takes away.

    A quota of 1.5 CPUs counts as one: OpenMP's threads wait for the slowest, which would be the one that is throttled.

    Args:
        root: Root of the file system.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *map(int, _quotas(root))]))


def memory_limit(root: Path = _ROOT) -> int | None:
    """Return the bytes of memory that the process may use at all, or None where the system does not tell.

    Args:
        root: Root of the file system.
    """
    limits = [limit for limit, _ in _memory(root)]
    return min([*limits, *_meminfo(root, "MemTotal")], default=None)


def available_memory(root: Path = _ROOT) -> int | None:
    """Return the bytes of memory that are left to the process, or None where the system does not tell.

    Cached files count as free, as they do for the machine's own MemAvailable: the kernel drops them before it ends a
    process.

    Args:
        root: Root of the file system.
    """
    left = [limit - used for limit, used in _memory(root)]
    available = min([*left, *_meminfo(root, "MemAvailable")], default=None)
    return None if available is None else max(0, available)


def _quotas(root: Path) -> Iterator[float]:
    """Yield each limit on CPU time, in CPUs."""
    for group in _groups(root, ""):
        quota, _, period = _read(group / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit():
            yield int(quota) / int(period)
    for group in _groups(root, "cpu"):
        quota, period = _read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit():  # without a quota it is -1
            yield int(quota) / int(period)


def _memory(root: Path) -> Iterator[tuple[int, int]]:
    """Yield each limit on memory with what is used of it, cached files aside, in bytes."""
    names = {
        "": ("memory.max", "memory.current", "inactive_file"),
        "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    }
    for controller, (limit_file, used_file, cached_name) in names.items():
        for group in _groups(root, controller):
            limit, used = _read(group / limit_file), _read(group / used_file)
            if limit.isdigit() and used.isdigit() and int(limit) < _NO_LIMIT:
                lines = dict(line.split() for line in _read(group / "memory.stat").splitlines())
                yield int(limit), int(used) - int(lines.get(cached_name, 0))


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the process's control group and all above it, as folders.

    Inside a container the path that the process is told is often the node's, of which only the root is there.

    Args:
        root: Root of the file system.
        controller: Name of a controller of version 1; empty for version 2.
    """
    mounted = root / "sys/fs/cgroup" / controller
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            group = mounted / path.lstrip("/")
            yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(mounted))


def _meminfo(root: Path, field: str) -> Iterator[int]:
    for line in _read(root / "proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            yield int(value.split()[0]) * 1024


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
