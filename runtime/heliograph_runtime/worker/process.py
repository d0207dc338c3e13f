"""One worker process as the HTTP process sees it."""

import asyncio
import logging
import os
import signal
import socket
import sys
from typing import Self

from heliograph_runtime.worker.frames import read_frame, write_frame
from heliograph_runtime.worker.messages import DEVICE_LOST_STATUS, Message

_COMMAND = (sys.executable, "-P", "-m", "heliograph_runtime.worker")

# Nothing is looked up on a hub and no code is taken from a model; libraries stay silent, since their warnings quote
# prompts; a pickle that slipped past every check is still read without running anything.
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DIFFUSERS_DISABLE_REMOTE_CODE": "1",
    "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1",
    "DIFFUSERS_VERBOSITY": "error",
    "TRANSFORMERS_VERBOSITY": "error",
    "TQDM_DISABLE": "1",
    "GGML_NO_BACKTRACE": "1",  # ggml would start a debugger, if there is one, before it aborts
}
# What a worker's environment says unless the runtime's own does; docs/performance.md has the measurements.
DEFAULT_ENVIRONMENT = {
    # GNU OpenMP's threads otherwise spin for milliseconds between two operations. Where anything else runs on the same
    # CPUs, or a pod has a CPU limit, they spin away what the others need; not to spin at all costs a small model half
    # its speed.
    "GOMP_SPINCOUNT": "10000",
    # glibc otherwise gives tensors of some megabytes back to the system after each operation, and each next one pays
    # for its pages again: up to a quarter of the time on a CPU. Blocks above the first figure still go back at once.
    "MALLOC_MMAP_THRESHOLD_": str(64 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(512 << 20),
}
_STOP_SECONDS = 5.0

log = logging.getLogger(__name__)


class WorkerEndedError(Exception):
    """The worker process is gone, or was killed because it no longer answered."""


class WorkerProcess:
    """A running worker: messages go in and come out; when it ends, who waits for a message gets `WorkerEndedError`."""

    def __init__(self, process: asyncio.subprocess.Process, writer: asyncio.StreamWriter) -> None:
        self._process = process
        self._writer = writer
        self._received: asyncio.Queue[Message | None] = asyncio.Queue()
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls) -> Self:
        """Start a worker: a new interpreter, since a fork of this process would share its threads' locks.

        It stays in this process's group, so that whoever kills the group leaves nothing behind. Its standard output
        goes to the log.

        Raises:
            WorkerEndedError: The system refuses another process.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_connection(sock=ours)
            try:
                process = await asyncio.create_subprocess_exec(
                    *_COMMAND,
                    str(theirs.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=sys.stderr.fileno(),
                    pass_fds=[theirs.fileno()],
                    env={**DEFAULT_ENVIRONMENT, **os.environ, **_ENVIRONMENT},
                )
            except OSError as error:
                writer.close()
                raise WorkerEndedError(f"it can't be started: {error.strerror}") from None
        worker = cls(process, writer)
        worker._reading = asyncio.create_task(worker._read(reader))
        return worker

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Return whether the worker has closed its end."""
        return self._reading is None or self._reading.done()

    async def wait_ended(self) -> None:
        """Wait until the worker has closed its end, which it does only by ending."""
        if self._reading:
            await asyncio.wait({self._reading})

    async def send(self, message: Message) -> None:
        """Send a message; raise `WorkerEndedError` when the worker is gone."""
        try:
            await write_frame(self._writer, message)
        except OSError:
            raise await self.ending() from None

    async def receive(self) -> Message:
        """Return the next message; raise `WorkerEndedError` when the worker is gone."""
        received = await self._received.get()
        if received is None:
            raise await self.ending()
        return received

    async def ending(self) -> WorkerEndedError:
        """Return how the worker ended, in words; it is killed if it closed its end and still runs."""
        self._received.put_nowait(None)  # whoever waits next is told as well
        try:
            code = await asyncio.wait_for(self._process.wait(), timeout=_STOP_SECONDS)
        except TimeoutError:
            self.kill()
            return WorkerEndedError("it stopped answering")
        if code == DEVICE_LOST_STATUS:
            return WorkerEndedError("its device was lost")
        return WorkerEndedError(f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}")

    def kill(self) -> None:
        """End the worker at once, whatever it is doing."""
        if self._process.returncode is None:
            self._process.kill()

    async def stop(self) -> None:
        """Close our end, which makes the worker end by itself; kill it if it does not."""
        self._writer.close()
        try:
            await asyncio.wait_for(self._process.wait(), timeout=_STOP_SECONDS)
        except TimeoutError:
            self.kill()
            await self._process.wait()
        finally:
            if self._reading:
                self._reading.cancel()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                self._received.put_nowait(await read_frame(reader))
        except (EOFError, OSError):
            pass
        except ValueError:
            log.exception("the worker sent what is no message; it is killed")
            self.kill()
        finally:
            self._received.put_nowait(None)
