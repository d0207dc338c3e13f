"""How far a fetch is."""

import threading
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

_WINDOW_SECONDS = 10.0
_SAMPLE_SECONDS = 0.5


@dataclass(frozen=True)
class State:
    """A fetch at one moment.

    Attributes:
        done: Bytes that are there.
        total: Bytes of all files; None while some source has not told.
        speed: Bytes in a second, over the last ten seconds.
    """

    done: int
    total: int | None
    speed: float

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self)


class Progress:
    """Counts what the threads of a fetch bring."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done = 0
        self._total: int | None = None
        self._arrived = 0
        self._samples = deque([(time.monotonic(), 0)])

    def expect(self, total: int | None) -> None:
        """Tell how many bytes there will be."""
        with self._lock:
            self._total = total

    def add(self, count: int) -> None:
        """Tell of bytes that are there; less than 0 of some that are thrown away."""
        with self._lock:
            self._done += count

    def arrive(self, count: int) -> None:
        """Tell of bytes that came just now, from wherever the source is, and are there."""
        with self._lock:
            self._done += count
            self._arrived += count
            now = time.monotonic()
            if now - self._samples[-1][0] >= _SAMPLE_SECONDS:
                self._samples.append((now, self._arrived))
                self._forget(now)

    def state(self) -> State:
        """Return how far it is."""
        with self._lock:
            now = time.monotonic()
            self._forget(now)
            since, arrived = self._samples[0]
            passed = now - since
            return State(self._done, self._total, (self._arrived - arrived) / passed if passed > 0 else 0.0)

    def _forget(self, now: float) -> None:
        """Drop the samples before the window, but for the last one."""
        while len(self._samples) > 1 and self._samples[1][0] <= now - _WINDOW_SECONDS:
            self._samples.popleft()
