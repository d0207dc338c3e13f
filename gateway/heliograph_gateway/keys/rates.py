"""How often a key may ask: a token bucket for each key in the memory of this process."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})
"""Methods that draw nothing. They have a rate of their own, so that who polls for a clip can still ask for the next."""
_PERIOD = 60.0
_READS_FOR_EACH = 10
_LEAST_READS = 600


@dataclass(frozen=True)
class Verdict:
    """What a bucket says of a request.

    Attributes:
        limit: Requests a minute.
        remaining: How many more would pass at this moment.
        full_after: Seconds until as many as `limit` would pass at once.
        retry_after: Seconds until this one would pass; 0 when it passes.
    """

    limit: int
    remaining: int
    full_after: float
    retry_after: int

    def headers(self) -> dict[str, str]:
        """Return OpenAI's headers of a rate."""
        return {
            "x-ratelimit-limit-requests": str(self.limit),
            "x-ratelimit-remaining-requests": str(self.remaining),
            "x-ratelimit-reset-requests": f"{math.ceil(self.full_after * 1000)}ms",
        }


class Rates:
    """The buckets: of each name one for what draws and one for reads.

    This is the generic cell rate algorithm (ITU-T I.371): all that is kept of a bucket is when it will be full.
    """

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        """Begin with full buckets; `now` returns seconds."""
        self._now = now
        self._full_at: dict[tuple[str, bool], float] = {}

    def take(self, name: str, *, per_minute: int, method: str) -> Verdict:
        """Take a request from the bucket of a key's name, if there is one in it.

        Args:
            name: The key's name.
            per_minute: How many requests that draw may come in a minute, and at once.
            method: The request's method.
        """
        reads = method in READ_METHODS
        limit = max(_LEAST_READS, _READS_FOR_EACH * per_minute) if reads else per_minute
        now, each = self._now(), _PERIOD / limit
        behind = max(self._full_at.get((name, reads), now) - now, 0.0)
        # A sum of fractions may exceed the whole by a rounding error.
        if (wait := behind + each - _PERIOD) > each * 1e-6:
            return Verdict(limit, 0, behind, max(1, math.ceil(wait)))
        behind += each
        self._full_at[name, reads] = now + behind
        return Verdict(limit, math.floor((_PERIOD - behind) / each + 1e-6), behind, 0)
