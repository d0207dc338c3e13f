"""Programs that run on without us, and are known again by a mark in their environment.

A mark cannot go stale as a recorded process id can: whatever carries it was started for this cluster, be it by a run
that was killed a moment later. What a program starts inherits its mark. Other users can set it as they like, so that
only processes of the user who asks count.
"""

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from steps import StepError

_MARK = "HELIOGRAPH_DEVCLUSTER"
_PROC = Path("/proc")
_TAIL_BYTES = 4096


@dataclass(frozen=True)
class Program:
    """A running process that carries a mark.

    Attributes:
        pid: Its process id.
        root: Folder of the cluster that it was started for.
        name: What it, or the program that started it, was started as.
        fingerprint: Of the command line and the configuration that it was started with.
        is_leader: Whether it was started by us and not by a program of ours.
    """

    pid: int
    root: Path
    name: str
    fingerprint: str
    is_leader: bool


def start(name: str, command: Sequence[str | Path], *, root: Path, fingerprint: str, log: Path) -> None:
    """Start a program in a session of its own, with `log` for its output; an earlier log is kept beside it.

    Raises:
        StepError: When it cannot be started.
    """
    if log.exists():
        log.replace(log.with_suffix(".log.previous"))
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    # Neither a proxy nor the user's settings have a part in it.
    environment = {"PATH": path, "HOME": str(root), _MARK: f"{root}\n{name}\n{fingerprint}"}
    with log.open("wb") as output:
        done = subprocess.run(
            # A child of init's from the beginning, so that nobody need wait for its end.
            ["setsid", "--fork", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            cwd="/",
            check=False,
        )
    if done.returncode:
        raise StepError(f"{name} could not be started:\n{tail(log)}")


def marked() -> list[Program]:
    """Return every running process that carries a mark, of this cluster or of another."""
    return [program for entry in _PROC.iterdir() if entry.name.isdigit() and (program := _read(int(entry.name)))]


def of(root: Path) -> list[Program]:
    """Return the processes of the cluster in a folder."""
    return [program for program in marked() if program.root == root]


def find(root: Path, name: str) -> Program | None:
    """Return the process that was started as `name` for a cluster, if it runs."""
    return next((program for program in of(root) if program.is_leader and program.name == name), None)


def _read(pid: int) -> Program | None:
    folder = _PROC / str(pid)
    try:
        if not is_own((folder / "status").read_bytes(), os.geteuid()):
            return None
        environment = (folder / "environ").read_bytes()
        status = (folder / "stat").read_bytes()
        command = (folder / "cmdline").read_bytes()
    except OSError:
        return None
    mark = read_mark(environment)
    if mark is None:
        return None
    root, name, fingerprint = mark
    # After the name, which may hold anything: state, parent, process group, session.
    session = int(status.rpartition(b")")[2].split()[3])
    called = Path(os.fsdecode(command.split(b"\0", 1)[0])).name
    return Program(pid, root, name, fingerprint, is_leader=session == pid and called == name)


def is_own(status: bytes, user: int) -> bool:
    """Return whether a process is a user's alone; one of a set-uid program has the environment of whoever ran it.

    Args:
        status: Content of its /proc/PID/status.
        user: The user's id.
    """
    users = next((line.split()[1:] for line in status.splitlines() if line.startswith(b"Uid:")), [])
    return set(users) == {str(user).encode()}


def read_mark(environment: bytes) -> tuple[Path, str, str] | None:
    """Return the cluster's folder, the name and the fingerprint of a mark; None where it is not one that we set.

    Args:
        environment: Content of a /proc/PID/environ, which is read in pieces while the process begins or ends.
    """
    for variable in environment.split(b"\0"):
        key, _, value = variable.partition(b"=")
        if key == _MARK.encode():
            parts = os.fsdecode(value).split("\n")
            if len(parts) != 3 or not parts[0].startswith("/"):
                return None
            root, name, fingerprint = parts
            return Path(root), name, fingerprint
    return None


def end(programs: Iterable[Program], *, grace: float = 10.0) -> None:
    """End processes: SIGTERM first, SIGKILL after `grace` seconds.

    Raises:
        StepError: When one is still there 30 s later.
    """
    with contextlib.ExitStack() as handles:
        opened = [descriptor for program in programs for descriptor in _open(program, handles)]
        for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 30.0)):
            for descriptor in opened:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, number)
            opened = _wait_for_ends(opened, seconds)
            if not opened:
                return
    raise StepError(f"{len(opened)} processes of the cluster cannot be ended; `ps` shows them in state D")


def end_all(root: Path) -> None:
    """End every process of a cluster, what they start meanwhile among them.

    Raises:
        StepError: When one cannot be ended.
    """
    while found := of(root):
        end(found)


def _open(program: Program, handles: contextlib.ExitStack) -> Iterator[int]:
    """Yield a handle of a process, if it is still the one that it was."""
    try:
        descriptor = os.pidfd_open(program.pid)
    except ProcessLookupError:
        return
    handles.callback(os.close, descriptor)
    if _read(program.pid) == program:
        yield descriptor


def _wait_for_ends(descriptors: list[int], seconds: float) -> list[int]:
    """Return those that still run after some seconds; the handle of a process can be read once it has ended."""
    deadline = time.monotonic() + seconds
    left = list(descriptors)
    while left and (remaining := deadline - time.monotonic()) > 0:
        ended, _, _ = select.select(left, [], [], remaining)
        left = [descriptor for descriptor in left if descriptor not in ended]
    return left


def wait_until(
    ready: Callable[[], bool], *, root: Path, name: str, log: Path, timeout: float = 90.0, what: str = "ready"
) -> None:
    """Wait until a program answers.

    Raises:
        StepError: When it ended first, or `timeout` seconds went by; the message has the end of its log.
    """
    started = time.monotonic()
    deadline = started + timeout
    while not ready():
        # A program that is about to start goes by another name for a moment.
        if not find(root, name) and time.monotonic() > started + 2:
            raise StepError(f"{name} ended before it was {what}; the end of {log}:\n{tail(log)}")
        if time.monotonic() > deadline:
            raise StepError(f"{name} is not {what} after {timeout:.0f} s; the end of {log}:\n{tail(log)}")
        time.sleep(0.1)


def tail(log: Path, *, lines: int = 15) -> str:
    """Return the last lines of a log."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
