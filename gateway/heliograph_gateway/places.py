"""How many requests this gateway keeps at one replica, which it may share with other gateways that it knows nothing of.

What waits here instead of in the replica's own queue can be sent in a fair order. The replica's own limit shows when it
refuses a request, and what is learnt so is raised again one by one.
"""

import random

_RAISE_SECONDS = 2.0
"""After so long without a refusal, one request more than was learnt is tried."""
_CLOSED_SECONDS = (0.5, 1.0)
"""So long, at random in between, nothing is sent to a replica that is full of others' requests."""
_SILENT_SECONDS = 30.0
"""After so long, a replica that did not say how much it has to do is asked again."""
_GAP_SECONDS = 0.1
_GAP_SHARE = 0.03
"""Share of the time in which a place that got free at a busy replica stays open to other gateways, `_GAP_SECONDS` each
time. Without it, who has a place fills it again before anybody else can look, for ever."""


class Places:
    """The places of one gateway at one replica; every time is that of the event loop's clock, in seconds."""

    __slots__ = ("_closed_until", "_gap_until", "_gave_way", "_learnt", "_raise_at", "_silent_until", "_watched_until")

    def __init__(self) -> None:
        """Allow whatever the settings do."""
        self._learnt: int | None = None
        self._raise_at = 0.0
        self._closed_until = 0.0
        self._watched_until = 0.0
        self._silent_until = 0.0
        self._gap_until = 0.0
        self._gave_way: float | None = None

    def are_free(self, taken: int, *, most: int, now: float) -> bool:
        """Return whether another request may be sent.

        Args:
            taken: Requests of this gateway that are there.
            most: Most requests by the settings and the model's spec.
            now: The time.
        """
        is_open = now >= max(self._closed_until, self._gap_until)
        return is_open and taken < (most if self._learnt is None else min(most, self._learnt))

    def refused(self, taken: int, *, now: float) -> None:
        """Note that the replica had no room for a request; `taken` are this gateway's others that are there."""
        self._learnt = max(taken, 1)
        self._raise_at = now + _RAISE_SECONDS
        if not taken:
            self._closed_until = now + random.uniform(*_CLOSED_SECONDS)  # noqa: S311 - jitter, no secret

    def grow(self, taken: int, *, most: int, now: float) -> None:
        """Allow one more where all that was learnt is taken, and nothing was refused for a while."""
        if self._learnt is not None and taken >= self._learnt and now >= max(self._raise_at, self._watched_until):
            self.found(taken, most=most, now=now)

    def found(self, taken: int, *, most: int, now: float) -> bool:
        """Note that the replica has room for a request beside the `taken` ones; return whether it may be sent now.

        Room that is left to other gateways on purpose is theirs.
        """
        if now < self._gap_until:
            return False
        self._closed_until = 0.0
        if self._learnt is not None:
            self._learnt = max(self._learnt, taken + 1)
            self._raise_at = now + _RAISE_SECONDS
            if self._learnt >= most:
                self._learnt = None
        return True

    def watch(self, until: float) -> None:
        """Note that somebody looks for room there until then, so that no request is sent to find out."""
        self._watched_until = until
        if self._closed_until:
            self._closed_until = until

    def told_nothing(self, now: float) -> None:
        """Note that the replica does not say how much it has to do: requests are sent to find out."""
        self._watched_until, self._silent_until = 0.0, now + _SILENT_SECONDS
        if self._closed_until:
            self._closed_until = now + random.uniform(*_CLOSED_SECONDS)  # noqa: S311 - jitter, no secret

    def are_worth_watching(self, now: float) -> bool:
        """Return whether room there is to be looked for: the replica takes less than is allowed, and may tell."""
        return self.are_fewer and now >= self._silent_until

    @property
    def are_fewer(self) -> bool:
        """Return whether the replica was found to take less than the settings allow."""
        return self._learnt is not None

    def left_over(self) -> None:
        """Note that nobody waits for a place."""
        self._gave_way = None

    def give_way(self, now: float) -> float:
        """Return how long a place that has just got free must stay empty, in seconds, though somebody waits for it."""
        if self._gave_way is None:
            self._gave_way = now
        if now - self._gave_way < _GAP_SECONDS / _GAP_SHARE:
            return 0.0
        self._gave_way = self._gap_until = now + _GAP_SECONDS
        return _GAP_SECONDS
