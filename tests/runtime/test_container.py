"""The CPUs and the memory of a container, read off file trees as kernels show them, and off this machine."""

import os
from pathlib import Path

import psutil
import pytest

from heliograph_runtime.engines.container import available_memory, count_cpus, memory_limit

GIB = 1 << 30
VERSION_2 = "0::/kubepods/pod1/ctr"
VERSION_1 = "4:memory:/kubepods/ctr\n2:cpu,cpuacct:/kubepods/ctr\n0::/"
MEMINFO = f"MemTotal:       {64 * GIB // 1024} kB\nMemFree:  1 kB\nMemAvailable:   {48 * GIB // 1024} kB\n"


def tree(root: Path, group: str = "", files: dict[str, str] | None = None) -> Path:
    """Write what /proc and /sys/fs/cgroup would hold."""
    written = {"proc/self/cgroup": group, "proc/meminfo": MEMINFO} | {
        f"sys/fs/cgroup/{path}": content for path, content in (files or {}).items()
    }
    for path, content in written.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    return root


@pytest.fixture
def many_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(16)))


@pytest.mark.usefixtures("many_cpus")
@pytest.mark.parametrize(
    ("group", "files", "cpus"),
    [
        (VERSION_2, {}, 16),
        (VERSION_2, {"kubepods/pod1/ctr/cpu.max": "max 100000\n"}, 16),
        (VERSION_2, {"kubepods/pod1/ctr/cpu.max": "400000 100000\n"}, 4),
        (VERSION_2, {"kubepods/pod1/ctr/cpu.max": "150000 100000\n"}, 1),
        (VERSION_2, {"kubepods/pod1/ctr/cpu.max": "50000 100000\n"}, 1),
        (VERSION_2, {"kubepods/pod1/ctr/cpu.max": "max 100000", "kubepods/pod1/cpu.max": "200000 100000"}, 2),
        ("0::/", {"cpu.max": "300000 100000\n"}, 3),
        (VERSION_1, {"cpu/kubepods/ctr/cpu.cfs_quota_us": "-1", "cpu/kubepods/ctr/cpu.cfs_period_us": "100000"}, 16),
        (VERSION_1, {"cpu/kubepods/ctr/cpu.cfs_quota_us": "200000", "cpu/kubepods/ctr/cpu.cfs_period_us": "100000"}, 2),
        # What a container of version 1 sees: the node's path, and its own group in the place of the root.
        (VERSION_1, {"cpu/cpu.cfs_quota_us": "600000", "cpu/cpu.cfs_period_us": "100000"}, 6),
        ("nonsense:and:more", {}, 16),
    ],
)
def test_cpus_are_those_that_the_quota_leaves(tmp_path: Path, group: str, files: dict[str, str], cpus: int) -> None:
    assert count_cpus(tree(tmp_path, group, files)) == cpus


def test_cpus_are_those_that_the_process_may_run_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 5, 7})

    assert count_cpus(tree(tmp_path, "0::/", {"cpu.max": "800000 100000"})) == 3


@pytest.mark.parametrize(
    ("group", "files", "limit", "available"),
    [
        (VERSION_2, {}, 64, 48),
        (VERSION_2, {"kubepods/pod1/ctr/memory.max": "max", "kubepods/pod1/ctr/memory.current": f"{GIB}"}, 64, 48),
        (
            VERSION_2,
            {
                "kubepods/pod1/ctr/memory.max": f"{8 * GIB}\n",
                "kubepods/pod1/ctr/memory.current": f"{6 * GIB}\n",
                "kubepods/pod1/ctr/memory.stat": f"anon {GIB}\ninactive_file {3 * GIB}\nactive_file 4\n",
            },
            8,
            5,
        ),
        (
            VERSION_2,
            {
                "kubepods/pod1/ctr/memory.max": f"{8 * GIB}",
                "kubepods/pod1/ctr/memory.current": f"{2 * GIB}",
                "kubepods/pod1/memory.max": f"{10 * GIB}",
                "kubepods/pod1/memory.current": f"{9 * GIB}",
            },
            8,
            1,
        ),
        (VERSION_2, {"kubepods/memory.max": f"{900 * GIB}", "kubepods/memory.current": "0"}, 64, 48),
        (VERSION_2, {"kubepods/memory.max": f"{GIB}", "kubepods/memory.current": f"{2 * GIB}"}, 1, 0),
        (
            VERSION_1,
            {
                "memory/kubepods/ctr/memory.limit_in_bytes": f"{4 * GIB}",
                "memory/kubepods/ctr/memory.usage_in_bytes": f"{3 * GIB}",
                "memory/kubepods/ctr/memory.stat": f"inactive_file 9\ntotal_inactive_file {GIB}\n",
                "memory/memory.limit_in_bytes": "9223372036854771712",
                "memory/memory.usage_in_bytes": f"{60 * GIB}",
            },
            4,
            2,
        ),
    ],
)
def test_memory_is_what_the_limits_leave(
    tmp_path: Path, group: str, files: dict[str, str], limit: int, available: int
) -> None:
    root = tree(tmp_path, group, files)

    assert (memory_limit(root), available_memory(root)) == (limit * GIB, available * GIB)


def test_a_system_that_tells_nothing_has_no_known_limits(tmp_path: Path) -> None:
    assert (memory_limit(tmp_path), available_memory(tmp_path)) == (None, None)
    assert count_cpus(tmp_path) == len(os.sched_getaffinity(0))


def test_this_machine_is_read() -> None:
    limit, available = memory_limit(), available_memory()

    assert limit is not None
    assert available is not None
    assert 0 < available < limit <= psutil.virtual_memory().total
    assert 1 <= count_cpus() <= (os.cpu_count() or 1)
