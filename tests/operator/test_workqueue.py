"""The queue: no key twice, no key at two places, failures later and later."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from heliograph_operator.workqueue import Retry, WorkQueue

LIMIT = 20.0


@dataclass
class Recorder:
    """Takes what a queue reports."""

    depths: list[int] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)

    adds: int = 0
    waits: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def queue_added(self) -> None:
        self.adds += 1

    def queue_depth(self, depth: int) -> None:
        self.depths.append(depth)

    def queue_waited(self, seconds: float) -> None:
        self.waits.append(seconds)

    def failed(self, error: BaseException) -> None:
        self.failures.append(type(error).__name__)

    def worked(self, seconds: float, outcome: str) -> None:
        assert seconds >= 0
        self.outcomes.append(outcome)


async def run_workers(
    queue: WorkQueue[str], handler: Callable[[str], Awaitable[None]], *, until: asyncio.Event, workers: int = 1
) -> None:
    tasks = [asyncio.create_task(queue.work(handler)) for _ in range(workers)]
    try:
        async with asyncio.timeout(LIMIT):
            await until.wait()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_a_waiting_key_is_worked_on_once_and_in_order() -> None:
    async def scenario() -> list[str]:
        queue: WorkQueue[str] = WorkQueue(metrics=Recorder())
        seen: list[str] = []
        done = asyncio.Event()

        async def handler(key: str) -> None:
            seen.append(key)
            if key == "last":
                done.set()

        for key in ["a", "b", "a", "b", "a", "last"]:
            queue.add(key)
        await run_workers(queue, handler, until=done)
        return seen

    assert asyncio.run(scenario()) == ["a", "b", "last"]


def test_urgent_keys_come_first() -> None:
    async def scenario() -> tuple[list[str], list[int]]:
        recorder = Recorder()
        queue: WorkQueue[str] = WorkQueue(metrics=recorder)
        seen: list[str] = []
        done = asyncio.Event()

        async def handler(key: str) -> None:
            seen.append(key)
            if key == "b" and seen.count("b") == 1:
                queue.add("b", urgent=True)
                queue.add("b")
            if key == "last":
                done.set()

        for key in ["a", "c", "b", "last"]:
            queue.add(key)
        for key in ["b", "c", "b"]:
            queue.add(key, urgent=True)
        queue.add("c")
        await run_workers(queue, handler, until=done)
        return seen, recorder.depths

    seen, depths = asyncio.run(scenario())
    assert seen == ["b", "c", "b", "a", "last"]
    assert max(depths) == 4


def test_what_a_queue_reports() -> None:
    async def scenario() -> Recorder:
        recorder = Recorder()
        queue: WorkQueue[str] = WorkQueue(metrics=recorder)
        done = asyncio.Event()

        async def handler(key: str) -> None:
            if key == "refused":
                raise Retry("no", after=3600) from PermissionError()
            if key == "broken":
                raise ValueError("no")
            if key == "last":
                done.set()

        for key in ["refused", "refused", "broken", "last"]:
            queue.add(key)
        await run_workers(queue, handler, until=done)
        return recorder

    recorder = asyncio.run(scenario())
    assert recorder.adds == 4
    assert len(recorder.waits) == 3
    assert all(0 <= seconds < LIMIT for seconds in recorder.waits)
    assert recorder.failures == ["PermissionError", "ValueError"]
    assert recorder.outcomes == ["retry", "error", "done"]


def test_a_key_added_while_at_work_comes_once_more_and_never_at_two_places() -> None:
    async def scenario() -> int:
        queue: WorkQueue[str] = WorkQueue(metrics=Recorder())
        running, rounds = 0, 0
        done = asyncio.Event()

        async def handler(key: str) -> None:
            nonlocal running, rounds
            running += 1
            rounds += 1
            assert running == 1, "one key at two places"
            if rounds == 1:
                for _ in range(5):
                    queue.add(key)
            for _ in range(10):
                await asyncio.sleep(0)
            running -= 1
            if rounds == 2:
                asyncio.get_running_loop().call_later(0.05, done.set)

        queue.add("a")
        await run_workers(queue, handler, until=done, workers=4)
        return rounds

    assert asyncio.run(scenario()) == 2


def test_different_keys_are_worked_on_at_the_same_time() -> None:
    async def scenario() -> None:
        queue: WorkQueue[str] = WorkQueue(metrics=Recorder())
        # Passes only when all three are at it together.
        barrier, done = asyncio.Barrier(3), asyncio.Event()

        async def handler(_: str) -> None:
            async with asyncio.timeout(LIMIT), barrier:
                done.set()

        for key in "abc":
            queue.add(key)
        await run_workers(queue, handler, until=done, workers=3)

    asyncio.run(scenario())


def test_a_failed_key_comes_back_and_its_worker_lives_on() -> None:
    async def scenario() -> Recorder:
        recorder = Recorder()
        queue: WorkQueue[str] = WorkQueue(metrics=recorder, jitter=lambda: -1.0)
        done = asyncio.Event()
        attempts: list[str] = []

        async def handler(key: str) -> None:
            attempts.append(key)
            if len(attempts) == 1:
                raise RuntimeError("once")
            if len(attempts) == 2:
                raise Retry("not yet")
            done.set()

        queue.add("a")
        await run_workers(queue, handler, until=done)
        assert attempts == ["a", "a", "a"]
        return recorder

    recorder = asyncio.run(scenario())
    assert recorder.outcomes[:2] == ["error", "retry"]
    assert recorder.depths[0] == 1


def test_delays_double_up_to_a_bound_and_start_anew_after_a_success(monkeypatch: pytest.MonkeyPatch) -> None:
    delays: list[float] = []
    queue: WorkQueue[str] = WorkQueue(metrics=Recorder(), jitter=lambda: 1.0)
    monkeypatch.setattr(queue, "add_after", lambda _, seconds: delays.append(seconds))

    async def scenario() -> None:
        outcomes = [*(Retry(f"down {number}") for number in range(12)), None, Retry("x"), Retry("y", after=7.0)]
        outcomes += [Retry("z", at_latest=0.25), Retry("now", at_latest=0.0)]
        done = asyncio.Event()

        async def handler(_: str) -> None:
            outcome = outcomes.pop(0)
            if outcomes:
                queue.add("a")
            else:
                done.set()
            if outcome is not None:
                raise outcome

        queue.add("a")
        await run_workers(queue, handler, until=done)

    asyncio.run(scenario())
    assert delays[:4] == [0.5, 1.0, 2.0, 4.0]
    assert delays[9:] == [256.0, 300.0, 300.0, 0.5, 7.0, 0.25, 2.0]


def test_the_delay_of_an_endless_failure_stays_a_number() -> None:
    queue: WorkQueue[str] = WorkQueue(metrics=Recorder(), jitter=lambda: 1.0)
    assert [queue._next_delay("a") for _ in range(2000)][-1] == 300.0


def test_jitter_spreads_a_delay_over_its_upper_half() -> None:
    def first_delay(jitter: float) -> float:
        queue: WorkQueue[str] = WorkQueue(metrics=Recorder(), jitter=lambda: jitter)
        return queue._next_delay("a")

    assert [first_delay(0.0), first_delay(1.0)] == [0.25, 0.5]


def test_the_earlier_of_two_timers_counts() -> None:
    async def scenario() -> list[str]:
        queue: WorkQueue[str] = WorkQueue(metrics=Recorder())
        seen: list[str] = []
        done = asyncio.Event()

        async def handler(key: str) -> None:
            seen.append(key)
            if key == "end":
                done.set()

        queue.add_after("a", 3600)
        queue.add_after("a", 0.01)
        queue.add_after("a", 3600)
        queue.add_after("end", 0.1)
        await run_workers(queue, handler, until=done)
        return seen

    assert asyncio.run(scenario()) == ["a", "end"]
