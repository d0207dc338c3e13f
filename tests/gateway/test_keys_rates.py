"""Token buckets, by a clock that is moved."""

from dataclasses import dataclass

from heliograph_gateway.keys.rates import Rates, Verdict


@dataclass
class Clock:
    time: float = 1000.0

    def __call__(self) -> float:
        return self.time


def take(rates: Rates, name: str = "a", *, per_minute: int = 6, method: str = "POST") -> Verdict:
    return rates.take(name, per_minute=per_minute, method=method)


def test_a_minutes_worth_passes_at_once_and_then_one_at_a_time() -> None:
    clock = Clock()
    rates = Rates(now=clock)
    assert [take(rates).remaining for _ in range(6)] == [5, 4, 3, 2, 1, 0]
    refused = take(rates)
    assert (refused.retry_after, refused.remaining, refused.limit) == (10, 0, 6)
    clock.time += 9.5
    assert take(rates).retry_after == 1
    clock.time += 0.5
    assert take(rates).retry_after == 0
    assert take(rates).retry_after == 10


def test_who_waits_as_long_as_told_passes_and_a_refusal_costs_nothing() -> None:
    clock = Clock()
    for per_minute in (1, 3, 7, 59, 60, 61, 997):
        rates = Rates(now=clock)
        while not (wait := take(rates, per_minute=per_minute).retry_after):
            pass
        assert 1 <= wait <= 60
        for _ in range(5):
            take(rates, per_minute=per_minute)
        clock.time += wait
        assert take(rates, per_minute=per_minute).retry_after == 0


def test_no_more_than_twice_the_rate_fits_into_any_minute() -> None:
    clock = Clock()
    rates = Rates(now=clock)
    passed = []
    for _ in range(6000):
        clock.time += 0.1
        if not take(rates, per_minute=30).retry_after:
            passed.append(clock.time)
    assert max(sum(start <= time < start + 60 for time in passed) for start in passed) <= 60
    assert 330 - 1 <= len(passed) <= 330 + 1


def test_a_bucket_is_full_again_after_a_minute() -> None:
    clock = Clock()
    rates = Rates(now=clock)
    full_after = [take(rates).full_after for _ in range(6)]
    assert full_after == [10, 20, 30, 40, 50, 60]
    clock.time += full_after[-1]
    assert take(rates).remaining == 5


def test_names_and_reads_have_buckets_of_their_own() -> None:
    rates = Rates(now=Clock())
    while not take(rates).retry_after:
        pass
    assert take(rates, "b").retry_after == 0
    reads = [take(rates, method="GET") for _ in range(601)]
    assert [verdict.retry_after for verdict in reads] == [0] * 600 + [1]
    assert take(rates, "c", per_minute=100, method="GET").limit == 1000


def test_headers_are_openai_s() -> None:
    assert take(Rates(now=Clock()), per_minute=60).headers() == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1000ms",
    }
