"""Processes that end with the test run, however it ends.

A leashed process is the child of a small supervisor: this file, run as a program. The supervisor's stdin is a pipe that
only the test process holds open. When the test process goes, even by SIGKILL, the kernel closes the pipe, and the
supervisor ends the child's whole process group.

The supervisor's three standard streams are the protocol:

- stdin: each byte is the number of a signal to pass on to the child; the end of the file ends the child's group.
- stdout: the line `started PID` or `failed MESSAGE`, later the line `exited CODE` (negative for a signal).
- stderr: what the child writes to its stdout and stderr. The supervisor lets go of it once the child runs, so that it
  comes to its end with the last writer in the child's group.

Only the standard library is imported, so that the supervisor starts fast, outside any virtual environment.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_TAIL_BYTES = 16_384


class LeashedProcessError(RuntimeError):
    """A leashed process did not start, ended too early, or did not get ready in time."""


def supervisor_command(command: Sequence[str | Path], *, grace: float) -> list[str]:
    """Return the command line that runs `command` on a leash.

    Args:
        command: Program and arguments.
        grace: Seconds between SIGTERM and SIGKILL when the leash is let go; 0 sends SIGKILL at once.
    """
    return [sys.executable, "-I", "-S", str(Path(__file__).resolve()), str(grace), *map(str, command)]


class Leash:
    """A running process that ends with the test process at the latest."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        grace: float = 5.0,
    ) -> None:
        """Start `command`.

        Args:
            command: Program and arguments.
            log: File to which the process's stdout and stderr are appended.
            env: The whole environment of the process; None hands on this process's.
            cwd: Folder in which it runs; None is this process's.
            grace: Seconds between SIGTERM and SIGKILL when the process is ended; 0 sends SIGKILL at once.

        Raises:
            LeashedProcessError: When the program cannot be started.
        """
        self.command = [str(part) for part in command]
        self.log = log
        self._grace = grace
        self._returncode: int | None = None
        with log.open("ab") as output:
            # A session of its own keeps the terminal's Ctrl-C from the supervisor: the test process decides.
            self._supervisor = subprocess.Popen(
                supervisor_command(command, grace=grace),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=env,
                cwd=cwd,
                start_new_session=True,
                bufsize=0,
            )
        assert self._supervisor.stdin
        assert self._supervisor.stdout
        self._control = self._supervisor.stdin
        self._status = self._supervisor.stdout
        self._unread = ""
        verdict, _, detail = (self._read_status(timeout=30.0) or "").partition(" ")
        if verdict != "started":
            self._close()
            raise LeashedProcessError(f"{self.command[0]} could not be started: {detail or self.tail()}")
        self.pid = int(detail)

    @property
    def returncode(self) -> int | None:
        """The process's exit code (negative for a signal), or None while it runs."""
        return self.poll()

    def poll(self) -> int | None:
        """Return the exit code (negative for a signal) when the process has ended, else None."""
        return self._learn_exit(timeout=0.0)

    def wait(self, *, timeout: float = 30.0) -> int:
        """Wait for the process to end by itself and return its exit code (negative for a signal).

        What it may have left of its process group lives on until `stop`, so that a test can see it.

        Raises:
            LeashedProcessError: When it still runs after `timeout` seconds; the message holds the end of its output.
        """
        code = self._learn_exit(timeout=timeout)
        if code is None:
            raise self.error(f"still runs after {timeout:g} s")
        return code

    def wait_until(self, ready: Callable[[], bool], *, what: str = "readiness", timeout: float = 60.0) -> None:
        """Wait until `ready` answers true.

        Raises:
            LeashedProcessError: When the process ended first, or `timeout` seconds went by; the message holds the end
                of its output.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            if (code := self.poll()) is not None:
                raise self.error(f"ended with code {code} before {what}")
            if time.monotonic() > deadline:
                raise self.error(f"came to no {what} within {timeout:g} s")
            time.sleep(0.05)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process alone, not to its children; an ended process gets none."""
        if self.poll() is None:
            self._control.write(bytes([number]))

    def stop(self) -> int:
        """End the process and all of its process group, and return its exit code (negative for a signal).

        SIGTERM first, SIGKILL after the grace time. Harmless when it has ended already.
        """
        if not self._control.closed:
            self._control.close()
            try:
                self._learn_exit(timeout=self._grace + 30.0)
            finally:
                self._close()
        if self._returncode is None:
            raise self.error("could not be ended")
        return self._returncode

    def tail(self, *, lines: int = 40) -> str:
        """Return the last lines of the process's output."""
        with self.log.open("rb") as output:
            output.seek(max(0, output.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = output.read().decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def error(self, problem: str) -> LeashedProcessError:
        """Return an error that names the process and the problem and holds the end of the process's output."""
        name = Path(self.command[0]).name
        return LeashedProcessError(f"{name} (pid {self.pid}) {problem}; the end of {self.log}:\n{self.tail()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _learn_exit(self, *, timeout: float) -> int | None:
        if self._returncode is None and (line := self._read_status(timeout=timeout)) is not None:
            verdict, _, code = line.partition(" ")
            if verdict != "exited":
                raise self.error("lost its supervisor")
            self._returncode = int(code)
        return self._returncode

    def _read_status(self, *, timeout: float) -> str | None:
        """Return the supervisor's next line, "" when the supervisor is gone, or None when none comes in time."""
        if "\n" not in self._unread:
            if self._status.closed:
                return ""
            ready, _, _ = select.select([self._status], [], [], timeout)
            if not ready:
                return None
            self._unread += os.read(self._status.fileno(), 4096).decode(errors="replace")
        line, _, self._unread = self._unread.partition("\n")
        return line

    def _close(self) -> None:
        self._control.close()
        self._supervisor.wait(timeout=self._grace + 30.0)
        self._status.close()


def start_leashed(
    command: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    grace: float = 5.0,
) -> Leash:
    """Start `command` as a process that cannot outlive this one; see `Leash`."""
    return Leash(command, log=log, env=env, cwd=cwd, grace=grace)


def _supervise(grace: float, command: list[str]) -> int:
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(wake)
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2, stderr=2, process_group=0)
    except OSError as error:
        _report(f"failed {error}")
        return 127
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    _report(f"started {child.pid}")
    reported = _hold(child, woken)
    _end(child, grace)
    if not reported:
        _report(f"exited {child.returncode}")
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _hold(child: subprocess.Popen[bytes], woken: int) -> bool:
    """Pass signals on until the leash is let go; tell whether the child's exit was reported meanwhile."""
    reported = False
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready and signal.SIGTERM in os.read(woken, 512):
            return reported
        if not reported and child.poll() is not None:
            _report(f"exited {child.returncode}")
            reported = True
        if 0 in ready:
            numbers = os.read(0, 512)
            if not numbers:
                return reported
            for number in numbers:
                child.send_signal(number)


def _end(child: subprocess.Popen[bytes], grace: float) -> None:
    if grace > 0:
        _signal_group(child, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=grace)
    _signal_group(child, signal.SIGKILL)
    child.wait()


def _signal_group(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # An empty group is no error; macOS says EPERM for one that holds only ended processes.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def _report(line: str) -> None:
    # The test process may be gone: that is what the supervisor is for.
    with contextlib.suppress(BrokenPipeError):
        os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    sys.exit(_supervise(float(sys.argv[1]), sys.argv[2:]))
