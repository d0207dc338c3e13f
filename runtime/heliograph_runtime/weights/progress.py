"""How far a fetch is."""

import threading
import time
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class State:
    """A fetch at one moment.

    Attributes:
        done: Bytes that are there.
        total: Bytes of all files; None while some source has not told.
        speed: Bytes in a second, lately.
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
        self._since = time.monotonic()

    def expect(self, total: int | None) -> None:
        """Tell how many bytes there will be."""
        with self._lock:
            self._total = total

    def add(self, count: int) -> None:
        """Tell of bytes that are there; less than 0 of some that are thrown away."""
        with self._lock:
            self._done += count

    def arrive(self, count: int) -> None:
        """Tell of bytes that came over the network just now."""
        with self._lock:
            self._arrived += count

    def state(self) -> State:
        """Return how far it is; the speed is that since the last call."""
        with self._lock:
            now = time.monotonic()
            passed, arrived = now - self._since, self._arrived
            self._since, self._arrived = now, 0
            return State(self._done, self._total, arrived / passed if passed > 0 else 0.0)
