"""Lines of requests that found no room at the replicas of their models, and are sent again one after another.

A request that is sent takes its whole body along, so that not all of them try for a room that is one request's.
"""

import asyncio
import contextlib
from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(eq=False)
class _Place:
    deadline: float
    turn: asyncio.Event = field(default_factory=asyncio.Event)


class Lines:
    """One line for each model, by namespace and name."""

    def __init__(self, *, seconds: float) -> None:
        """Make lines whose first is called each so many `seconds` besides: others make room too."""
        self._seconds = seconds
        self._lines: dict[tuple[str, str], list[_Place]] = {}
        self._timers: dict[tuple[str, str], asyncio.TimerHandle] = {}

    @contextlib.contextmanager
    def place(self, key: tuple[str, str], *, deadline: float) -> Iterator[asyncio.Event]:
        """Hold a place in a line inside the `with` block; the event is set when it is called.

        Who has the nearest deadline is called first, so that a request that is sent in vain keeps its place.
        """
        place = _Place(deadline)
        insort(self._lines.setdefault(key, []), place, key=lambda place: place.deadline)
        if key not in self._timers:
            self._set_timer(key)
        try:
            yield place.turn
        finally:
            if place in self._lines.get(key, ()):
                self._take_out(key, place)

    def is_waited_in(self, key: tuple[str, str]) -> bool:
        """Return whether a line has anybody in it."""
        return key in self._lines

    def call(self, key: tuple[str, str]) -> None:
        """Call the first in a line, if there is one."""
        if line := self._lines.get(key):
            line[0].turn.set()
            self._take_out(key, line[0])

    def _set_timer(self, key: tuple[str, str]) -> None:
        self._timers[key] = asyncio.get_running_loop().call_later(self._seconds, self._tick, key)

    def _tick(self, key: tuple[str, str]) -> None:
        self._set_timer(key)
        self.call(key)

    def _take_out(self, key: tuple[str, str], place: _Place) -> None:
        self._lines[key].remove(place)
        if not self._lines[key]:
            del self._lines[key]
            self._timers.pop(key).cancel()


async def either(one: asyncio.Event, other: asyncio.Event) -> None:
    """Wait until one of two events is set."""
    waiting = [asyncio.create_task(event.wait()) for event in (one, other)]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
