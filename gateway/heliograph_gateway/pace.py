"""When to ask a model again that has too much to do: its line's length over the rate at which it finishes requests."""

import math
import random
from collections import deque

from heliograph_api.serving import MAX_RETRY_AFTER

_KEPT = 64
_LEAST = 5
"""Requests that must be finished before the rate says anything."""
_SPREAD = 1.5
"""Clients that are refused together must not come back together; OpenAI's wait exactly as long as they are told."""


class Pace:
    """How fast the requests of a model are finished while others wait for it."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._finished: deque[float] = deque(maxlen=_KEPT)

    def count(self, now: float) -> None:
        """Count a request that is finished; `now` in seconds on the event loop's clock."""
        self._finished.append(now)

    def retry_after(self, waiting: int, *, now: float) -> int | None:
        """Return the seconds, 1 to 120, after which a request is likely to find room; None while that is not known.

        Args:
            waiting: Requests that wait already.
            now: The time on the event loop's clock.
        """
        if len(self._finished) < _LEAST:
            return None
        each = (now - self._finished[0]) / (len(self._finished) - 1)
        wait = each * (waiting + 1) * random.uniform(1, _SPREAD)  # noqa: S311 - jitter, no secret
        return within_bounds(math.ceil(wait))


def as_retry_after(told: str) -> str:
    """Return a Retry-After as clients honour it, from one in seconds or as a date, of which only the bound is kept."""
    try:
        return told if 0 <= float(told) <= MAX_RETRY_AFTER else str(within_bounds(float(told)))
    except (ValueError, OverflowError):
        return str(MAX_RETRY_AFTER)


def within_bounds(seconds: float) -> int:
    """Return seconds for Retry-After as OpenAI's clients honour them: 1 to 120."""
    return min(max(math.ceil(seconds), 1), MAX_RETRY_AFTER)
