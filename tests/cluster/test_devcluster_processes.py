"""The programs of the development cluster run on, are known again, and are told from those of others."""

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcluster import host, processes
from devcluster.layout import Layout
from steps import StepError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    # A development cluster of this machine and these tests leave each other alone.
    monkeypatch.setattr(processes, "_MARK", f"HELIOGRAPH_TEST_{tmp_path.name}")
    folder = tmp_path / "devcluster"
    folder.mkdir()
    yield folder
    processes.end_all(folder)


def start(root: Path, name: str, *command: str) -> Path:
    log = root / f"{name}.log"
    processes.start(name, command, root=root, fingerprint="abc", log=log)
    return log


def wait_for(root: Path, name: str, log: Path) -> processes.Program:
    processes.wait_until(lambda: bool(processes.find(root, name)), root=root, name=name, log=log)
    found = processes.find(root, name)
    assert found
    return found


def test_a_program_runs_on_in_a_session_of_its_own_and_is_found_again(root: Path) -> None:
    sleep = wait_for(root, "sleep", start(root, "sleep", "sleep", "1000"))
    assert (sleep.root, sleep.fingerprint, sleep.is_leader) == (root, "abc", True)
    assert os.getsid(sleep.pid) == sleep.pid
    assert Path(f"/proc/{sleep.pid}/stat").read_text().split()[3] != str(os.getpid()), "it is no child of ours"


def test_what_a_program_starts_is_the_clusters_too(root: Path) -> None:
    log = start(root, "sh", "sh", "-c", "sleep 1000 & sleep 1000 & wait")
    wait_for(root, "sh", log)
    deadline = time.monotonic() + 30
    while len(processes.of(root)) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [program.is_leader for program in processes.of(root)].count(True) == 1
    processes.end_all(root)
    assert processes.of(root) == []


def test_ending_one_cluster_leaves_another(root: Path, tmp_path: Path) -> None:
    cache = tmp_path / "another user's"
    other = cache / "devcluster"
    other.mkdir(parents=True)
    try:
        wait_for(root, "sleep", start(root, "sleep", "sleep", "1000"))
        survivor = wait_for(other, "sleep", start(other, "sleep", "sleep", "1000"))
        processes.end(processes.of(root))
        assert processes.of(other) == [survivor]
        with pytest.raises(StepError, match=rf"development cluster of {other} runs ") as said:
            host.check_no_other(Layout(root))
        assert f"`HELIOGRAPH_CACHE={shlex.quote(str(cache))} make cluster-down`" in str(said.value)
        cache.chmod(0o777)
        with pytest.raises(StepError, match=rf"end its processes: `ps -fp {survivor.pid}` shows them") as said:
            host.check_no_other(Layout(root))
        assert "HELIOGRAPH_CACHE" not in str(said.value), "anybody may have filled that folder"
    finally:
        processes.end(processes.of(other))


def test_processes_of_other_users_do_not_count(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wait_for(root, "sleep", start(root, "sleep", "sleep", "1000"))
    another = os.geteuid() + 1
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: another)
        assert processes.marked() == []
    assert len(processes.marked()) == 1


@pytest.mark.parametrize(
    ("users", "own"), [("0\t0\t0\t0", True), ("1000\t0\t0\t0", False), ("1000\t1000\t1000\t1000", False), ("", False)]
)
def test_a_set_uid_program_is_not_its_owners(users: str, own: bool) -> None:
    assert processes.is_own(f"Name:\tUid: 0\nUid:\t{users}\nGid:\t0\n".encode(), 0) is own


@pytest.mark.parametrize(
    "mark", [b"", b"\n", b"/root\nname", b"/root\nname\nprint\nmore", b"folder\nname\nprint", b"\xff\n\n", b"\n\n"]
)
def test_what_is_no_mark_counts_as_none(root: Path, mark: bytes) -> None:
    environment = f"{processes._MARK}=".encode() + mark
    assert processes.read_mark(environment) is None
    with subprocess.Popen(["sleep", "1000"], env={processes._MARK: os.fsdecode(mark)}) as sleep:
        try:
            assert processes.of(root) == processes.marked() == []
        finally:
            sleep.kill()


def test_a_process_may_call_itself_anything(root: Path) -> None:
    """The kernel hands a process's name on as it is, be it no text at all."""
    program = root / os.fsdecode(b"\xff) (")
    program.symlink_to(shutil.which("sleep") or "")
    with subprocess.Popen([program, "1000"], env={processes._MARK: f"{root}\nsleep\nabc"}) as odd:
        try:
            assert [found.pid for found in processes.of(root)] == [odd.pid]
        finally:
            odd.kill()


def test_a_program_that_does_not_heed_is_killed(root: Path) -> None:
    log = start(root, "bash", "bash", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done")
    wait_for(root, "bash", log)
    processes.wait_until(lambda: "deaf" in log.read_text(), root=root, name="bash", log=log)
    deaf = wait_for(root, "bash", log)
    processes.end([deaf], grace=0.3)
    assert deaf not in processes.of(root)


def test_a_program_that_ends_early_is_an_error_with_its_last_words(root: Path) -> None:
    log = start(root, "sh", "sh", "-c", "echo out of luck; exit 1")
    with pytest.raises(StepError, match=r"sh ended before it was ready; .*\nout of luck"):
        processes.wait_until(lambda: False, root=root, name="sh", log=log)


def test_the_log_of_the_run_before_is_kept(root: Path) -> None:
    for word in ("first", "second"):
        log = start(root, "sh", "sh", "-c", f"echo {word}")
        while word not in log.read_text():
            time.sleep(0.05)
    assert (root / "sh.log.previous").read_text() == "first\n"
