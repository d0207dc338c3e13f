"""A command of ours as a child process that ends with this one, however this one ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections import deque
from typing import TYPE_CHECKING, Self, cast

from heliograph_gateway.cancelling import is_set_within

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_TAIL_LINES = 20
_MAX_LINE = 4096
_STDERR = 2
# What stands before the reason: time, level and logger of the runtime's log, or click's word.
_REASON = re.compile(r"^(?:\S+ \S+ CRITICAL [\w.]+|Error): (.+)$")


class ChildProcess(asyncio.SubprocessProtocol):
    """A running `heliograph runtime` or `heliograph fetch`, in a process group of its own, on a leash.

    The leash is its standard input: a pipe that only this process holds open. Whatever ends this process, SIGKILL
    included, closes it, and `--watch-stdin` ends the child. Its own group keeps the terminal's Ctrl-C from it, so that
    requests at work can finish, and lets its worker be ended with it.
    """

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._pending: dict[int, bytes] = {}
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._last_error = ""
        # asyncio's own Process.wait() returns only once all pipes are closed, which a worker may hold open.
        self._exited = asyncio.Event()
        self._closed = asyncio.Event()
        self._transport: asyncio.SubprocessTransport

    @classmethod
    async def start(cls, arguments: Sequence[str], *, on_line: Callable[[str], None]) -> Self:
        """Start `heliograph` with these arguments; `on_line` is called with each line that it writes."""
        _, process = await asyncio.get_running_loop().subprocess_exec(
            lambda: cls(on_line),
            # -P: the folder that the user happens to stand in is no place to import from.
            *(sys.executable, "-P", "-m", "heliograph", *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if name != "HELIOGRAPH_API_KEY"},
            process_group=0,
        )
        return process

    @property
    def pid(self) -> int:
        """Process id, which is its group's too."""
        return self._transport.get_pid()

    @property
    def tail(self) -> list[str]:
        """The last lines that it wrote."""
        return list(self._tail)

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        status = self._transport.get_returncode()
        if status == -signal.SIGKILL:
            return "was ended by SIGKILL, which is how a system that is out of memory does it"
        if status is not None and status < 0:
            return f"was ended by {signal.Signals(-status).name}"
        return f"ended with status {status}"

    @property
    def reason(self) -> str:
        """Why it ended: what the last line on its standard error says, else how it ended."""
        said = _REASON.match(self._last_error)
        return said[1] if said and self.said_why else f"the runtime {self.ending}"

    @property
    def said_why(self) -> bool:
        """Whether it ended as a runtime does that cannot load its model: status 1 after a line that says why."""
        return self._transport.get_returncode() == 1 and _REASON.match(self._last_error) is not None

    async def wait(self, *, timeout: float) -> bool:  # noqa: ASYNC109 - the timeout is an answer here, not an error
        """Wait for it to end, at most `timeout` seconds; return whether it has."""
        return await is_set_within(self._exited, timeout)

    async def stop(self, *, grace: float) -> None:
        """End it and read the rest of its output: SIGTERM, and after `grace` seconds SIGKILL for its whole group."""
        with contextlib.suppress(ProcessLookupError):
            self._transport.terminate()
        await self.wait(timeout=grace)
        self.kill()
        await self._closed.wait()

    def kill(self) -> None:
        """Send SIGKILL to its whole group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of ended processes
            os.killpg(self.pid, signal.SIGKILL)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (asyncio calls this when the process has started)."""
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Pass on output line by line; progress bars end their lines with a carriage return."""
        *lines, rest = re.split(rb"[\r\n]+", self._pending.pop(fd, b"") + data)
        if len(rest) > _MAX_LINE:
            lines, rest = [*lines, rest], b""
        self._pending[fd] = rest
        for line in lines:
            self._record(fd, line)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Pass on a last line that has no line end."""
        self._record(fd, self._pending.pop(fd, b""))

    def process_exited(self) -> None:
        """Note that the process has ended."""
        self._exited.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Note that its pipes are closed too."""
        self._closed.set()

    def _record(self, fd: int, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        if not text:
            return
        self._tail.append(text)
        if fd == _STDERR:
            self._last_error = text
        self._on_line(text)
