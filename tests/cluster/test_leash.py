"""Leashed processes start, answer to signals, and are gone when the process that held them is."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from cluster.leash import LeashedProcessError, start_leashed
from cluster.processes import descendants, is_running
from cluster.waiting import eventually

TESTS = Path(__file__).parents[1]

STUBBORN = """
import pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[1]).write_text(str(child.pid) + chr(10))
time.sleep(600)
"""


def written_pid(path: Path) -> int:
    eventually(lambda: path.exists() and path.read_text().endswith("\n"), what=f"pid in {path}")
    return int(path.read_text())


def test_everything_is_gone_after_the_holder_was_killed(tmp_path: Path) -> None:
    """The holder gets SIGKILL, so no line of its own runs; one child ignores SIGTERM and has a child itself."""
    holder_source = textwrap.dedent(
        """
        import pathlib, sys, time
        from cluster.leash import start_leashed
        folder = pathlib.Path(sys.argv[1])
        held = [
            start_leashed([sys.executable, "-c", sys.argv[2], folder / "grandchild"], log=folder / "a.log", grace=1.0),
            start_leashed([sys.executable, "-c", "import time; time.sleep(600)"], log=folder / "b.log", grace=1.0),
        ]
        print(*(leash.pid for leash in held), flush=True)
        time.sleep(600)
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder_source, tmp_path, STUBBORN],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(TESTS)},
        text=True,
    ) as holder:
        assert holder.stdout
        pids = [int(pid) for pid in holder.stdout.readline().split()]
        pids.append(written_pid(tmp_path / "grandchild"))
        pids += descendants(holder.pid)
        assert len(pids) == 3 + 5
        assert all(map(is_running, pids))
        holder.kill()
    eventually(lambda: not any(map(is_running, pids)), what="end of every child", timeout=15)


def test_exit_code_and_output(tmp_path: Path) -> None:
    source = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    with start_leashed([sys.executable, "-u", "-c", source], log=tmp_path / "log") as leash:
        assert leash.wait() == 3
        assert leash.returncode == 3
        assert leash.tail() == "out\nerr"
    assert leash.stop() == 3


def test_stop_gives_time_after_sigterm(tmp_path: Path) -> None:
    source = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); print('up'); time.sleep(600)"
    )
    leash = start_leashed([sys.executable, "-u", "-c", source], log=tmp_path / "log")
    leash.wait_until(lambda: leash.tail() == "up")
    assert leash.stop() == 7


def test_stop_ends_what_ignores_sigterm(tmp_path: Path) -> None:
    leash = start_leashed([sys.executable, "-c", STUBBORN, tmp_path / "pid"], log=tmp_path / "log", grace=0.2)
    grandchild = written_pid(tmp_path / "pid")
    assert leash.stop() == -signal.SIGKILL
    eventually(lambda: not is_running(grandchild), what="end of the grandchild")


def test_a_signal_reaches_the_process_alone(tmp_path: Path) -> None:
    with start_leashed([sys.executable, "-c", STUBBORN, tmp_path / "pid"], log=tmp_path / "log", grace=0) as leash:
        grandchild = written_pid(tmp_path / "pid")
        leash.send_signal(signal.SIGINT)
        assert leash.wait() == -signal.SIGINT
        assert is_running(grandchild), "what a process leaves behind must be visible until stop()"
    eventually(lambda: not is_running(grandchild), what="end of the grandchild")


def test_an_early_end_shows_the_output(tmp_path: Path) -> None:
    with (
        start_leashed([sys.executable, "-c", "import sys; sys.exit('no such model')"], log=tmp_path / "log") as leash,
        pytest.raises(LeashedProcessError, match=r"ended with code 1 before readiness(?s:.*)no such model"),
    ):
        leash.wait_until(lambda: False)


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LeashedProcessError, match=r"/nowhere/program could not be started: .*No such file"):
        start_leashed(["/nowhere/program"], log=tmp_path / "log")
