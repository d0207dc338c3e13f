"""A queue of keys, each of which is worked on at one place at a time, however often it is added."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, Protocol, TypeVar

K = TypeVar("K", bound=Hashable)

logger = logging.getLogger(__name__)

_FIRST_DELAY = 0.5
_LAST_DELAY = 300.0


class Retry(Exception):  # noqa: N818 - it asks for something, it is no error
    """Raised by a handler that wants its key again, without that being a failure of the operator.

    Attributes:
        after: Seconds until then; None for the growing delay of failures.
    """

    def __init__(self, message: str, *, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class QueueMetrics(Protocol):
    """What a queue reports."""

    def queue_depth(self, depth: int) -> None:
        """Keys that wait to be worked on."""

    def worked(self, seconds: float, outcome: str) -> None:
        """A key was worked on for `seconds`; `outcome` is done, retry or error."""


class WorkQueue(Generic[K]):
    """The queue.

    A key that is added while it waits is not added again; one that is added while it is worked on is worked on once
    more afterwards. A key whose handler fails comes back after a delay that doubles from half a second to five minutes,
    with jitter, until the handler succeeds.
    """

    def __init__(self, *, metrics: QueueMetrics, jitter: Callable[[], float] = random.random) -> None:
        """Make an empty queue; `jitter` returns a number from 0 to 1, and is given by tests alone."""
        self._metrics = metrics
        self._jitter = jitter
        # A dict keeps the order in which keys came and holds each once.
        self._waiting: dict[K, None] = {}
        self._busy: set[K] = set()
        self._again: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._wakeup = asyncio.Event()

    def add(self, key: K) -> None:
        """Have `key` worked on as soon as a worker is free."""
        if key in self._busy:
            self._again.add(key)
            return
        self._waiting[key] = None
        self._metrics.queue_depth(len(self._waiting))
        self._wakeup.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Have `key` worked on in `seconds`, or earlier when it is waited for already."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= loop.time() + seconds:
                return
            timer.cancel()
        self._timers[key] = loop.call_later(seconds, self._ring, key)

    async def work(self, handler: Callable[[K], Awaitable[None]]) -> None:
        """Work on keys until cancelled; run as many of these as there should be workers."""
        while True:
            key = await self._take()
            try:
                await self._handle(key, handler)
            finally:
                self._busy.discard(key)
                if key in self._again:
                    self._again.discard(key)
                    self.add(key)

    async def _take(self) -> K:
        while not self._waiting:
            self._wakeup.clear()
            await self._wakeup.wait()
        key = next(iter(self._waiting))
        del self._waiting[key]
        self._busy.add(key)
        self._metrics.queue_depth(len(self._waiting))
        return key

    async def _handle(self, key: K, handler: Callable[[K], Awaitable[None]]) -> None:
        started = asyncio.get_running_loop().time()
        outcome = "error"
        try:
            await handler(key)
        except Retry as retry:
            outcome = "retry"
            delay = self._next_delay(key) if retry.after is None else retry.after
            logger.info("%s: %s; again in %.1f s", key, retry, delay)
            self.add_after(key, delay)
        except Exception:  # a worker must outlive whatever one key brings about
            delay = self._next_delay(key)
            logger.exception("%s: failed; again in %.1f s", key, delay)
            self.add_after(key, delay)
        else:
            outcome = "done"
            self._failures.pop(key, None)
        finally:
            self._metrics.worked(asyncio.get_running_loop().time() - started, outcome)

    def _next_delay(self, key: K) -> float:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # The exponent is bounded first: 2.0**failures would overflow after a long outage.
        delay = min(_FIRST_DELAY * 2.0 ** min(failures, 16), _LAST_DELAY)
        # From half the delay to the whole: after an outage, keys that failed together do not come back together.
        return delay * (1 + self._jitter()) / 2

    def _ring(self, key: K) -> None:
        del self._timers[key]
        self.add(key)
