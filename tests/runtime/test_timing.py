import time

import pytest

from heliograph_runtime.events import Progress
from heliograph_runtime.images.timing import Stopwatch


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that shows what its only entry says."""
    shown = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: shown[0])
    return shown


def test_steps_are_timed_from_the_first_to_the_last(clock: list[float]) -> None:
    stopwatch = Stopwatch()
    for at, index, done in ((103.0, 0, 1), (103.1, 1, 1), (104.0, 0, 3), (107.0, 0, 9), (108.0, 1, 10)):
        clock[0] = at
        stopwatch.step(Progress(index, done, 10))

    usage = stopwatch.usage(images=2, steps=99)

    assert (usage["images"], usage["steps"]) == (2, 10)
    assert usage["time_per_generation_ms"] == 500
    assert usage["generation_per_second"] == 2
    assert usage["time_to_process_ms"] == 2500


def test_one_step_alone_is_all_the_time(clock: list[float]) -> None:
    stopwatch = Stopwatch()
    clock[0] = 104.0
    stopwatch.step(Progress(0, 4, 4))

    usage = stopwatch.usage(images=1, steps=4)

    assert (usage["time_per_generation_ms"], usage["time_to_process_ms"]) == (1000, 0)


def test_what_is_too_fast_to_be_told_of_is_divided_evenly(clock: list[float]) -> None:
    stopwatch = Stopwatch()
    clock[0] = 101.0

    usage = stopwatch.usage(images=1, steps=4)

    assert (usage["steps"], usage["time_per_generation_ms"], usage["time_to_process_ms"]) == (4, 250, 0)
    assert stopwatch.usage(images=1, steps=0)["steps"] == 0
