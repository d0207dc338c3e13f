"""Lines: who is called, and when."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from heliograph_gateway.lines import Lines, either

TINY, BIG = ("art", "tiny"), ("art", "big")


def play(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), 30))


def test_who_came_first_is_called_first_even_if_it_has_been_called_in_vain() -> None:
    async def scene() -> None:
        lines = Lines(seconds=60)
        with lines.place(TINY, deadline=2.0) as second, lines.place(TINY, deadline=3.0) as third:
            with lines.place(TINY, deadline=1.0) as first, lines.place(BIG, deadline=0.0) as other:
                lines.call(TINY)
                assert [turn.is_set() for turn in (first, second, third, other)] == [True, False, False, False]
            with lines.place(TINY, deadline=1.0) as first:
                lines.call(TINY)
                assert [turn.is_set() for turn in (first, second, third)] == [True, False, False]
            lines.call(TINY)
            assert [turn.is_set() for turn in (second, third)] == [True, False]

    play(scene)


def test_who_has_left_is_not_called() -> None:
    async def scene() -> None:
        lines = Lines(seconds=60)
        with lines.place(TINY, deadline=2.0) as second:
            with lines.place(TINY, deadline=1.0) as first:
                pass
            lines.call(TINY)
            assert (first.is_set(), second.is_set()) == (False, True)
        lines.call(TINY)

    play(scene)


def test_one_is_called_after_each_while() -> None:
    async def scene() -> None:
        lines = Lines(seconds=0.05)
        with lines.place(TINY, deadline=1.0) as first, lines.place(TINY, deadline=2.0) as second:
            await first.wait()
            assert not second.is_set()
            await second.wait()

    play(scene)


def test_nothing_is_left_of_an_empty_line() -> None:
    async def scene() -> None:
        lines = Lines(seconds=60)
        with lines.place(TINY, deadline=1.0), lines.place(BIG, deadline=1.0):
            lines.call(TINY)
        assert (lines._lines, lines._timers) == ({}, {})

    play(scene)


def test_either_event_ends_the_wait() -> None:
    async def scene() -> None:
        one, other = asyncio.Event(), asyncio.Event()
        waiting = [asyncio.create_task(either(one, other)), asyncio.create_task(either(other, one))]
        await asyncio.sleep(0)
        other.set()
        await asyncio.gather(*waiting)

    play(scene)
