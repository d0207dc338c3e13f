"""Run one step of a longer task and tell the user how it goes; the standard library alone."""

from __future__ import annotations

import contextlib
import fcntl
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

HEARTBEAT_SECONDS = 30.0


class StepError(Exception):
    """What stopped the work, with its remedy; shown to the user as it is."""


class Reporter:
    """Says what is going on: one line that is redrawn on a terminal, else a line at the start and every 30 s."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()
        self._doing = ""
        self._started = self._spoken = 0.0

    def start(self, doing: str) -> None:
        """Begin a step; `doing` says what it is."""
        self._doing = doing
        self._started = self._spoken = time.monotonic()
        self._write(f"{doing} ...")

    def tick(self, detail: str) -> None:
        """Show that the step is still going on; `detail` is its progress, if known."""
        now = time.monotonic()
        if self._live or now - self._spoken >= HEARTBEAT_SECONDS:
            self._spoken = now
            self._write(f"{self._doing} ... {now - self._started:.0f} s{detail and ', ' + detail}")

    def say(self, text: str) -> None:
        """Print lines that stay."""
        self.clear()
        print(text, flush=True)

    def clear(self) -> None:
        """Take the redrawn line off a terminal."""
        if self._live:
            print("\r\033[K", end="", flush=True)

    def _write(self, text: str) -> None:
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\033[K{text[:width]}", end="", flush=True)
        else:
            print(text, flush=True)


def run_program(work: Callable[[Reporter], int]) -> int:
    """Do a program's work, and return its exit status: 1 for a `StepError`, which is printed, and 130 for Ctrl-C.

    SIGTERM and the end of the terminal count as Ctrl-C, so that nothing that the work started goes on without it.
    """
    reporter = Reporter()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, signal.default_int_handler)
    try:
        return work(reporter)
    except StepError as error:
        reporter.clear()
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        reporter.clear()
        print("Interrupted. The same command goes on from here.", file=sys.stderr)
        return 130
    finally:
        reporter.clear()


@contextlib.contextmanager
def alone(lock: Path, reporter: Reporter, *, waiting_for: str) -> Iterator[None]:
    """Hold a lock on a file, which ends with the process at the latest; where another process has it, say so and wait.

    Args:
        lock: The file, in a folder that is there.
        reporter: What to tell the user with.
        waiting_for: What the other one is to come to, such as "another run to end".
    """
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            reporter.say(f"Waiting for {waiting_for} ...")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def ending_with_us(process: subprocess.Popen[Any]) -> Iterator[None]:
    """Where the block is interrupted, end a process and wait until it has put its own things in order."""
    try:
        yield
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise


def pip_progress(line: str) -> str:
    """Return how far a download of pip's is, by a line of its raw progress; nothing when it is at something else."""
    match = re.match(r"Progress (\d+) of (\d+)$", line)
    return "" if match is None else f"{int(match[1]) / 1e6:.0f} of {int(match[2]) / 1e6:.0f} MB"


def run(
    command: Sequence[str | Path],
    *,
    reporter: Reporter,
    doing: str,
    environment: Mapping[str, str] | None = None,
    detail_of: Callable[[str], str | None] = pip_progress,
) -> None:
    """Run a command and keep its output to ourselves, unless it fails.

    Args:
        command: The command.
        reporter: What to tell the user with.
        doing: What it does, as the user is told.
        environment: Its environment variables; ours when None.
        detail_of: Returns how far the command is, by a line of its output; None for a line that does not change it.

    Raises:
        StepError: It failed; the message ends with the last lines that it printed.
    """
    reporter.start(doing)
    lines: list[str] = []
    detail = ""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        text=True,
        errors="replace",
    ) as process:

        def collect() -> None:
            nonlocal detail
            for line in process.stdout or ():
                told = detail_of(line)
                detail = detail if told is None else told
                if not told:
                    lines.append(line)

        reader = threading.Thread(target=collect, daemon=True)
        reader.start()
        with ending_with_us(process):
            while reader.is_alive():
                reader.join(timeout=0.5)
                reporter.tick(detail)
    if process.returncode != 0:
        raise StepError(f"{doing}: failed\n{''.join(lines[-30:])}".rstrip())
