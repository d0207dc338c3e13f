"""When refused clients are told to come back."""

import pytest

from heliograph_gateway.pace import Pace, as_retry_after, within_bounds


def pace(each: float, finished: int) -> tuple[Pace, float]:
    made = Pace()
    for number in range(finished):
        made.count(number * each)
    return made, max(finished - 1, 0) * each


@pytest.mark.parametrize(
    ("each", "waiting", "least", "most"),
    [
        pytest.param(0.5, 63, 32, 48, id="two a second, 64 to go"),
        pytest.param(0.01, 5, 1, 1, id="never less than a second"),
        pytest.param(60, 63, 120, 120, id="never more than OpenAI's clients honour"),
    ],
)
def test_it_is_the_time_that_the_line_takes_with_some_spread(each: float, waiting: int, least: int, most: int) -> None:
    made, now = pace(each, 200)
    found = {made.retry_after(waiting, now=now) for _ in range(300)}
    assert all(seconds is not None and least <= seconds <= most for seconds in found)
    assert (len(found) > 1) == (least != most)


@pytest.mark.parametrize("finished", [0, 1, 4])
def test_nothing_is_told_before_some_requests_are_finished(finished: int) -> None:
    made, now = pace(1.0, finished)
    assert made.retry_after(10, now=now + 5) is None


@pytest.mark.parametrize(("seconds", "told"), [(-1, 1), (0, 1), (0.2, 1), (1.2, 2), (120, 120), (1e9, 120)])
def test_the_bounds(seconds: float, told: int) -> None:
    assert within_bounds(seconds) == told


@pytest.mark.parametrize(
    ("told", "passed_on"),
    [
        ("7", "7"), ("0.1", "0.1"), ("120", "120"), ("3600", "120"), ("-5", "1"), ("inf", "120"), ("nan", "120"),
        ("Wed, 21 Oct 2026 07:28:00 GMT", "120"), ("", "120"),
    ],
)  # fmt: skip
def test_what_a_replica_says_is_kept_within_the_bounds(told: str, passed_on: str) -> None:
    assert as_retry_after(told) == passed_on
