"""The worker process: `python -m heliograph_runtime.worker FD`, where FD is its end of the socket.

It ends by itself as soon as the other end closes, whatever it is doing, so that no worker outlives its HTTP process.
"""

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from heliograph_api.spec import parse_spec
from heliograph_runtime.engines import make_engine
from heliograph_runtime.engines.protocol import (
    DeviceLostError,
    Engine,
    LoadError,
    OutOfMemoryError,
    Picture,
    RefusedError,
)
from heliograph_runtime.logs import configure_logging
from heliograph_runtime.worker.frames import FrameSocket
from heliograph_runtime.worker.messages import (
    DEVICE_LOST_STATUS,
    Cancel,
    Drawn,
    FailureReason,
    Generate,
    GenerateFailed,
    Load,
    Loaded,
    LoadFailed,
    Message,
    Refused,
    Step,
    Stopped,
)

_TELL_SECONDS = 0.05
"""Shortest time between two reports of a job's steps; the last step and those with previews are always told."""

log = logging.getLogger("heliograph_runtime.worker")


class JobCancelledError(Exception):
    """Raised inside a pipeline to leave it between two steps."""


class Worker:
    """Serves the orders that come over a socket, one at a time."""

    def __init__(self, frames: FrameSocket) -> None:
        self._frames = frames
        self._orders: SimpleQueue[Generate] = SimpleQueue()
        self._cancelled = 0
        """Number of the last job that was cancelled; jobs are numbered from 1 upwards."""
        self._steps = 0
        """Steps of the present job that are done."""
        self._steps_each = 0
        """Steps that each of its pictures has taken: fewer, if they are drawn in parts."""
        self._told = 0.0
        """When a step was last told of."""

    def run(self) -> int:
        """Load the model, then draw until the other end closes; return the exit status after a failed load."""
        order = self._frames.read()
        if not isinstance(order, Load):
            return 1  # the other end has closed
        Thread(target=self._read, name="orders", daemon=True).start()
        try:
            engine = make_engine(spec := parse_spec(order.spec))
            capabilities = engine.load(spec, models_dir=Path(order.models_dir))
        except LoadError as error:
            self._frames.write(LoadFailed(error.reason, error.message))
            return 1
        except Exception as error:
            log.exception("loading failed")
            detail = " ".join(f"{type(error).__name__}: {error}".split())[:400]
            self._frames.write(LoadFailed("LoadFailed", f"the engine can't be started; the log says more ({detail})"))
            return 1
        self._frames.write(Loaded(capabilities, engine.memory()))
        while True:
            self._generate(engine, self._orders.get())

    def _read(self) -> None:
        try:
            while self._take(self._frames.read()):
                pass
        finally:
            os._exit(0)  # the main thread may be inside a computation that nothing else can interrupt

    def _take(self, message: Message | None) -> bool:
        """Take an order and keep no reference to it, since its pictures are large; return whether more may come."""
        if isinstance(message, Cancel):
            self._cancelled = message.job
        elif isinstance(message, Generate):
            self._orders.put(message)
        return message is not None

    def _generate(self, engine: Engine, order: Generate) -> None:
        self._steps = self._steps_each = 0
        try:
            pictures = engine.generate(order.batch, partial(self._on_step, order))
            _check_count(pictures, order)
        except JobCancelledError:
            self._frames.write(Stopped(order.job, self._steps))
        except RefusedError as error:
            self._frames.write(Refused(order.job, self._steps, error.field, error.problem))
        except DeviceLostError:
            self._fail(order, "device_lost")
            os._exit(DEVICE_LOST_STATUS)  # a library that cleans up behind a lost device may hang
        except (OutOfMemoryError, MemoryError):
            self._fail(order, "out_of_memory")
        except Exception:
            self._fail(order, "error")
        else:
            self._frames.write(Drawn(order.job, self._steps, tuple(pictures), self._steps_each, engine.memory()))

    def _on_step(self, order: Generate, done: int, steps: int, previews: Sequence[Picture]) -> None:
        self._steps += 1
        self._steps_each = max(self._steps_each, done)
        if self._cancelled == order.job:
            raise JobCancelledError
        now = time.monotonic()
        if previews or done == steps or now >= self._told + _TELL_SECONDS:
            self._told = now
            if previews:
                _check_count(previews, order)
            self._frames.write(Step(order.job, done, steps, tuple(previews)))

    def _fail(self, order: Generate, reason: FailureReason) -> None:
        """Log the exception at hand and tell the other end."""
        log.exception("a batch of %d failed (%s): %s", len(order.batch.prompts), reason, order.batch.sampling)
        self._frames.write(GenerateFailed(order.job, self._steps, reason))


def main() -> int:
    """Run the worker on the socket whose descriptor is the first argument."""
    # A Ctrl-C on the terminal or a SIGTERM for the whole group is for the HTTP process, which lets work finish.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    configure_logging()
    return Worker(FrameSocket(socket.socket(fileno=int(sys.argv[1])))).run()


def _check_count(pictures: Sequence[Picture], order: Generate) -> None:
    if len(pictures) != len(order.batch.prompts):
        raise RuntimeError(f"the engine gave {len(pictures)} pictures for {len(order.batch.prompts)} prompts")


if __name__ == "__main__":
    sys.exit(main())
