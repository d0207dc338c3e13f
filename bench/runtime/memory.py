"""The memory of a process and of all that it started."""

from contextlib import suppress
from threading import Event, Thread
from types import TracebackType
from typing import Self

import psutil

_SAMPLE_SECONDS = 0.2


class PeakMemory:
    """Watches a tree of processes while the block runs.

    Attributes:
        peak: Most bytes that all of them had at one time.
        parts: Bytes of each at that time, by what it runs.
    """

    def __init__(self, root: psutil.Process) -> None:
        self.peak = 0
        self.parts: dict[str, int] = {}
        self._root = root
        self._stop = Event()
        self._thread = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            parts: dict[str, int] = {}
            with suppress(psutil.NoSuchProcess):
                for process in (self._root, *self._root.children(recursive=True)):
                    parts[_title(process)] = _bytes_of(process)
            if sum(parts.values()) > self.peak:
                self.peak, self.parts = sum(parts.values()), parts
            self._stop.wait(_SAMPLE_SECONDS)


def _bytes_of(process: psutil.Process) -> int:
    """Return the memory of a process; a page that several share counts for each with its part, where that is told."""
    found = process.memory_full_info()
    return int(getattr(found, "pss", 0) or found.rss)


def _title(process: psutil.Process) -> str:
    """Return what a process runs: a subcommand of ours, the worker, or a script."""
    command = process.cmdline()
    for name in ("heliograph_runtime.worker", "runtime", "serve"):
        if name in command:
            return name.rpartition(".")[2]
    return "script"
