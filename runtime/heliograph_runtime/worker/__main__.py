"""The worker process: `python -m heliograph_runtime.worker FD`, where FD is its end of the socket.

It ends by itself as soon as the other end closes, whatever it is doing, so that no worker outlives its HTTP process.
"""

import logging
import os
import signal
import socket
import sys
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from heliograph_api.spec import parse_spec
from heliograph_runtime.engines import make_engine
from heliograph_runtime.engines.protocol import Engine, LoadError
from heliograph_runtime.logs import configure_logging
from heliograph_runtime.worker.frames import FrameSocket
from heliograph_runtime.worker.messages import (
    Cancel,
    Drawn,
    Generate,
    GenerateFailed,
    Load,
    Loaded,
    LoadFailed,
    Step,
    Stopped,
)

log = logging.getLogger("heliograph_runtime.worker")


class JobCancelledError(Exception):
    """Raised inside a pipeline to leave it between two steps."""


class Worker:
    """Serves the orders that come over a socket, one at a time."""

    def __init__(self, frames: FrameSocket) -> None:
        self._frames = frames
        self._orders: SimpleQueue[Load | Generate] = SimpleQueue()
        self._cancelled = 0
        """Number of the last job that was cancelled; jobs are numbered from 1 upwards."""

    def run(self) -> int:
        """Load the model, then draw until the other end closes; return the exit status after a failed load."""
        Thread(target=self._read, name="orders", daemon=True).start()
        order = self._orders.get()
        if not isinstance(order, Load):
            raise TypeError(f"the first order must be to load, not {order.type}")
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
        self._frames.write(Loaded(capabilities))
        while True:
            order = self._orders.get()
            if isinstance(order, Generate):
                self._generate(engine, order)

    def _read(self) -> None:
        try:
            while (message := self._frames.read()) is not None:
                if isinstance(message, Cancel):
                    self._cancelled = message.job
                elif isinstance(message, Load | Generate):
                    self._orders.put(message)
        finally:
            os._exit(0)  # the main thread may be inside a computation that nothing else can interrupt

    def _generate(self, engine: Engine, order: Generate) -> None:
        def on_step(done: int, steps: int) -> None:
            if self._cancelled == order.job:
                raise JobCancelledError
            self._frames.write(Step(order.job, done, steps))

        try:
            pictures = engine.generate(order.batch, on_step)
        except JobCancelledError:
            self._frames.write(Stopped(order.job))
        except Exception as error:
            log.exception("a batch of %d failed: %s", len(order.batch.prompts), order.batch.sampling)
            self._frames.write(GenerateFailed(order.job, out_of_memory=type(error).__name__ == "OutOfMemoryError"))
        else:
            sizes = [(picture.width, picture.height) for picture in pictures]
            self._frames.write(Drawn(order.job, sizes), *(picture.pixels for picture in pictures))


def main() -> int:
    """Run the worker on the socket whose descriptor is the first argument."""
    # A Ctrl-C on the terminal or a SIGTERM for the whole group is for the HTTP process, which lets work finish.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    configure_logging()
    return Worker(FrameSocket(socket.socket(fileno=int(sys.argv[1])))).run()


if __name__ == "__main__":
    sys.exit(main())
