"""How many requests are kept at a replica: what is learnt from refusals, and what is left to other gateways."""

import pytest

from heliograph_gateway.places import Places


def free(places: Places, *, now: float, most: int = 16) -> int:
    """Return how many requests may be there at once."""
    return next((taken for taken in range(most) if not places.are_free(taken, most=most, now=now)), most)


def test_what_the_settings_allow_is_free() -> None:
    places = Places()
    assert (free(places, now=0.0), free(places, now=0.0, most=3)) == (16, 3)
    assert not places.are_fewer


def test_a_refusal_teaches_how_many_there_may_be_and_that_is_raised_one_by_one() -> None:
    places = Places()
    places.refused(5, now=10.0)
    assert (free(places, now=10.0), places.are_fewer) == (5, True)
    places.grow(5, most=16, now=11.9)
    assert free(places, now=11.9) == 5, "not so soon"
    places.grow(4, most=16, now=12.0)
    assert free(places, now=12.0) == 5, "what is there is not used"
    places.grow(5, most=16, now=12.0)
    assert free(places, now=12.0) == 6
    for step in range(1, 11):
        places.grow(5 + step, most=16, now=12.0 + 2 * step)
    assert (free(places, now=60.0), places.are_fewer) == (16, False)


def test_a_replica_full_of_others_requests_is_left_alone_for_a_while() -> None:
    for _ in range(100):
        places = Places()
        places.refused(0, now=10.0)
        assert (free(places, now=10.0), free(places, now=10.499), free(places, now=11.001)) == (0, 0, 1)


def test_room_that_is_found_is_used_at_once() -> None:
    places = Places()
    places.refused(0, now=10.0)
    assert places.found(0, most=16, now=10.1)
    assert (free(places, now=10.1), places.are_fewer) == (1, True)
    assert places.found(1, most=2, now=10.2)
    assert (free(places, now=10.2, most=2), places.are_fewer) == (2, False)


def test_where_somebody_looks_no_request_is_sent_to_find_out() -> None:
    places = Places()
    places.refused(0, now=10.0)
    places.watch(20.0)
    assert free(places, now=15.0) == 0
    places.found(0, most=16, now=15.0)
    places.watch(25.0)
    places.grow(1, most=16, now=24.0)
    assert free(places, now=24.0) == 1
    places.grow(1, most=16, now=25.0)
    assert free(places, now=25.0) == 2


def test_what_does_not_tell_is_tried() -> None:
    places = Places()
    assert not places.are_worth_watching(0.0)
    places.refused(0, now=10.0)
    assert places.are_worth_watching(10.0)
    places.watch(1000.0)
    places.told_nothing(11.0)
    assert (free(places, now=11.0), free(places, now=12.0)) == (0, 1)
    assert not places.are_worth_watching(40.9)
    assert places.are_worth_watching(41.0)


def test_room_that_is_left_to_others_is_not_taken_when_it_is_found() -> None:
    places = Places()
    places.refused(1, now=0.0)
    places.give_way(0.0)
    pause = places.give_way(10.0)
    assert not places.found(0, most=16, now=10.0 + pause / 2)
    assert free(places, now=10.0 + pause / 2) == 0
    assert places.found(0, most=16, now=10.0 + pause)


@pytest.mark.parametrize("work", [0.01, 0.1, 1.0, 30.0])
def test_a_busy_replica_is_left_to_others_for_a_moment_from_time_to_time(work: float) -> None:
    places, now, lost, longest, since = Places(), 0.0, 0.0, 0.0, 0.0
    for _ in range(10_000):
        now += work
        pause = places.give_way(now)
        longest = max(longest, now - since)
        if pause:
            assert not places.are_free(0, most=16, now=now)
            assert places.are_free(0, most=16, now=now + pause)
            now, lost, since = now + pause, lost + pause, now + pause
    assert 0 < lost <= 0.03 * now
    assert longest <= 3.4 + 2 * work


def test_nobody_gives_way_where_nobody_waited() -> None:
    places = Places()
    for now in range(0, 100, 3):
        assert not places.give_way(float(now))
        places.left_over()
