"""The memory and the processor time of one process."""

from contextlib import suppress
from threading import Event, Thread
from types import TracebackType
from typing import Self

import psutil

_SAMPLE_SECONDS = 0.1


class Usage:
    """What a process uses while the block runs.

    Attributes:
        peak: Most bytes of main memory that it had at one time, shared pages included.
    """

    def __init__(self, pid: int) -> None:
        self.peak = 0
        self._process = psutil.Process(pid)
        self._stop = Event()
        self._thread = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._start = self._processor_time()
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def processor(self) -> float:
        """Return the seconds of processor time since the block began; the process must run."""
        return self._processor_time() - self._start

    def _processor_time(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def _watch(self) -> None:
        with suppress(psutil.NoSuchProcess):
            while not self._stop.wait(_SAMPLE_SECONDS):
                self.peak = max(self.peak, resident(self._process))


def resident(process: psutil.Process) -> int:
    """Return the bytes of main memory that a process has, shared pages included."""
    return int(process.memory_info().rss)
