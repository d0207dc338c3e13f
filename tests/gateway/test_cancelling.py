"""Waiting that is cancelled: that it is heard, and what has ended by then."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from heliograph_gateway.answers import WholeAnswers
from heliograph_gateway.body import Bodies, Body
from heliograph_gateway.cancelling import in_thread_to_its_end, is_set_within
from heliograph_gateway.forwarding import WholeAnswer
from heliograph_gateway.settings import GatewaySettings

_MIB = 1024 * 1024


def test_an_event_is_waited_for_no_longer_than_said() -> None:
    async def run() -> list[bool]:
        event = asyncio.Event()
        unset = [await is_set_within(event, seconds) for seconds in (0.01, -1.0)]
        event.set()
        return [*unset, *[await is_set_within(event, seconds) for seconds in (60.0, -1.0)]]

    assert asyncio.run(run()) == [False, False, True, True]


@pytest.mark.parametrize("steps", range(4))
def test_a_cancellation_in_the_moment_of_the_event_is_heard(steps: int) -> None:
    async def run() -> None:
        event = asyncio.Event()
        waiting = asyncio.create_task(is_set_within(event, 60.0))
        await asyncio.sleep(0.01)
        event.set()
        for _ in range(steps):
            await asyncio.sleep(0)
        is_heard = waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled() == is_heard

    asyncio.run(run())


async def cancelled_twice(work: asyncio.Task[Any], is_at_work: threading.Event, go_on: threading.Event) -> None:
    """Cancel a task twice while its thread is at work, and see that it ends only after that."""
    await asyncio.to_thread(is_at_work.wait, 30)
    for _ in range(2):
        work.cancel()
        await asyncio.wait([work], timeout=0.1)
        assert not work.done(), "its thread is still at work"
    go_on.set()
    await asyncio.wait([work], timeout=30)
    assert work.cancelled()


def slowly(is_at_work: threading.Event, go_on: threading.Event, then: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that does what `then` does, but says when it begins and waits until it may."""

    def work(*args: Any) -> Any:
        is_at_work.set()
        assert go_on.wait(30)
        return then(*args)

    return work


def test_a_thread_has_ended_before_the_cancelled_task() -> None:
    async def run() -> None:
        is_at_work, go_on, done = threading.Event(), threading.Event(), list[int]()
        work = asyncio.create_task(in_thread_to_its_end(slowly(is_at_work, go_on, done.append), 1))
        await cancelled_twice(work, is_at_work, go_on)
        assert done == [1]

    asyncio.run(run())


def test_what_a_thread_returns_and_raises_is_passed_on() -> None:
    async def run() -> None:
        assert await in_thread_to_its_end(int, "7", base=8) == 7
        with pytest.raises(ValueError, match="invalid literal"):
            await in_thread_to_its_end(int, "9", base=8)

    asyncio.run(run())


def test_a_body_is_not_closed_under_its_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        is_at_work, go_on = threading.Event(), threading.Event()
        body = Body(bodies := Bodies(GatewaySettings()))
        monkeypatch.setattr(body, "_write", slowly(is_at_work, go_on, body._write))
        await cancelled_twice(asyncio.create_task(body.append(bytes(2 * _MIB))), is_at_work, go_on)
        assert b"".join([part async for part in body.parts()]) == bytes(2 * _MIB)
        body.close()
        assert (bodies.buffered, bodies.spooled) == (0, 0)

    asyncio.run(run())


class Unchanged(WholeAnswer):
    """An answer as it is."""

    async def _changed(self, answer: dict[str, Any]) -> dict[str, Any]:
        return answer


def test_a_large_answer_is_read_alone_though_its_client_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        is_at_work, go_on = threading.Event(), threading.Event()
        monkeypatch.setattr("heliograph_gateway.forwarding._read", slowly(is_at_work, go_on, lambda _: {}))
        account = WholeAnswers(GatewaySettings())

        async def parts() -> Any:
            yield bytes(2 * _MIB)

        async def pass_on() -> list[bytes]:
            share = account.share(remedy="")
            return [piece async for piece in Unchanged().pass_on(parts(), share)]

        reading = asyncio.create_task(pass_on())
        await cancelled_twice(reading, is_at_work, go_on)
        assert not account.large.locked()

    asyncio.run(run())
