"""A queue of keys, each of which is worked on at one place at a time, however often it is added."""

import asyncio
import logging
import random
import time
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
        at_latest: Seconds that this delay must not exceed; None or 0 for no bound of the key's own, since what is due
            now is what the key could not come to.
    """

    def __init__(self, message: str, *, after: float | None = None, at_latest: float | None = None) -> None:
        super().__init__(message)
        self.after = after
        self.at_latest = at_latest


class QueueMetrics(Protocol):
    """What a queue reports."""

    def queue_added(self) -> None:
        """A key was added, whether it waited already or not."""

    def queue_depth(self, depth: int) -> None:
        """Keys that wait to be worked on."""

    def queue_waited(self, seconds: float) -> None:
        """A key was taken up after it had waited for `seconds`."""

    def worked(self, seconds: float, outcome: str) -> None:
        """A key was worked on for `seconds`; `outcome` is done, retry or error."""

    def failed(self, error: BaseException) -> None:
        """Work on a key failed for `error`, or has to be done again for it."""


class WorkQueue(Generic[K]):
    """The queue.

    Urgent keys come before the others, so that an edit does not wait until a full listing is worked through. A key that
    is added while it waits is not added again; one that is added while it is worked on is worked on once more
    afterwards. A key whose handler fails comes back after a delay that doubles from half a second to five minutes,
    with jitter, until the handler succeeds.
    """

    def __init__(self, *, metrics: QueueMetrics, jitter: Callable[[], float] = random.random) -> None:
        """Make an empty queue; `jitter` returns a number from 0 to 1, and is given by tests alone."""
        self._metrics = metrics
        self._jitter = jitter
        # A dict keeps the order in which keys came and holds each once; the value is when.
        self._urgent: dict[K, float] = {}
        self._waiting: dict[K, float] = {}
        self._busy: set[K] = set()
        # Whether it is urgent to work on a busy key once more.
        self._again: dict[K, bool] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._wakeup = asyncio.Event()

    def add(self, key: K, *, urgent: bool = False) -> None:
        """Have `key` worked on as soon as a worker is free; if it is urgent, before all that is not."""
        self._metrics.queue_added()
        if key in self._busy:
            self._again[key] = urgent or self._again.get(key, False)
            return
        if key not in self._urgent:
            since = self._waiting.pop(key, time.monotonic()) if urgent else time.monotonic()
            (self._urgent if urgent else self._waiting).setdefault(key, since)
        self._report_depth()
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

    async def work(self, handler: Callable[[K], Awaitable[float | None]]) -> None:
        """Work on keys until cancelled; run as many of these as there should be workers.

        What a handler returns are the seconds after which it wants its key again, if it does.
        """
        while True:
            key = await self._take()
            try:
                await self._handle(key, handler)
            finally:
                self._busy.discard(key)
                if key in self._again:
                    self.add(key, urgent=self._again.pop(key))

    async def _take(self) -> K:
        while not (self._urgent or self._waiting):
            self._wakeup.clear()
            await self._wakeup.wait()
        queue = self._urgent or self._waiting
        key = next(iter(queue))
        self._metrics.queue_waited(time.monotonic() - queue.pop(key))
        self._busy.add(key)
        self._report_depth()
        return key

    def _report_depth(self) -> None:
        self._metrics.queue_depth(len(self._urgent) + len(self._waiting))

    async def _handle(self, key: K, handler: Callable[[K], Awaitable[float | None]]) -> None:
        started = asyncio.get_running_loop().time()
        outcome = "error"
        try:
            again = await handler(key)
        except Retry as retry:
            outcome = "retry"
            if retry.__cause__ is not None:
                self._metrics.failed(retry.__cause__)
            delay = self._next_delay(key) if retry.after is None else retry.after
            delay = min(delay, retry.at_latest or delay)
            logger.info("%s: %s; again in %.1f s", key, retry, delay)
            self.add_after(key, delay)
        except Exception as error:  # a worker must outlive whatever one key brings about
            self._metrics.failed(error)
            delay = self._next_delay(key)
            logger.exception("%s: failed; again in %.1f s", key, delay)
            self.add_after(key, delay)
        else:
            outcome = "done"
            self._failures.pop(key, None)
            if again is not None:
                self.add_after(key, again)
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
