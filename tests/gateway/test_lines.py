"""Lines: whose turn it is."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from heliograph_gateway.lines import Line, Share


@dataclass(frozen=True)
class Asker:
    owner: str
    number: int
    size: int = 1


def line(*owners: str) -> Line[Asker]:
    """Return a line of requests that came in this order."""
    made = Line[Asker]()
    for number, owner in enumerate(owners):
        made.add(Asker(owner, number))
    return made


def drained(waiting: Line[Asker]) -> list[str]:
    found = []
    while first := next(waiting.in_turn(), None):
        waiting.take(first)
        found.append(f"{first.owner}{first.number}")
    return found


@pytest.mark.parametrize(
    ("owners", "order"),
    [
        ("", []),
        ("aaa", ["a0", "a1", "a2"]),
        ("aaab", ["a0", "b3", "a1", "a2"]),
        ("aaaabbc", ["a0", "b4", "c6", "a1", "b5", "a2", "a3"]),
        ("abab", ["a0", "b1", "a2", "b3"]),
    ],
)
def test_owners_take_turns_and_each_ones_first_goes_first(owners: str, order: list[str]) -> None:
    waiting = line(*owners)
    assert [f"{member.owner}{member.number}" for member in waiting.in_turn()] == order
    assert drained(waiting) == order
    assert len(waiting) == 0


def test_who_has_gone_waits_for_all_other_owners() -> None:
    waiting = line(*"aab")
    waiting.take(next(waiting.in_turn()))
    for number in (3, 4):
        waiting.add(Asker("b", number))
    waiting.add(Asker("c", 5))
    assert drained(waiting) == ["b2", "a1", "c5", "b3", "b4"]


def test_a_turn_in_vain_is_kept() -> None:
    waiting = line(*"aabb")
    first = next(waiting.in_turn())
    waiting.take(first)
    waiting.add(first, again=True)
    assert drained(waiting) == ["a0", "b2", "a1", "b3"]


def test_who_leaves_costs_its_owner_no_turn() -> None:
    waiting = line(*"aab")
    waiting.remove(next(waiting.in_turn()))
    assert drained(waiting) == ["a1", "b2"]
    waiting = line(*"ab")
    waiting.remove(next(waiting.in_turn()))
    assert drained(waiting) == ["b1"]


def test_the_position_is_the_place_in_turn() -> None:
    rng = random.Random(3)
    for _ in range(200):
        waiting = line(*rng.choices("aaaabbc", k=rng.randint(1, 12)))
        members = list(waiting.in_turn())
        for _ in range(rng.randint(0, len(members) - 1)):
            waiting.take(next(waiting.in_turn()))
        members = list(waiting.in_turn())
        assert [waiting.position(member) for member in members] == list(range(1, len(members) + 1))


def test_what_each_owner_has_is_told() -> None:
    waiting = Line[Asker]()
    for number, (owner, size) in enumerate([("a", 5), ("b", 1), ("a", 7)]):
        waiting.add(Asker(owner, number, size))
    assert waiting.shares() == [Share("a", 2, 12), Share("b", 1, 1)]
    assert waiting.last_of("a").size == 7
    assert Asker("b", 1, 1) in waiting
    assert Asker("c", 9) not in waiting


def served(arrivals: Sequence[tuple[int, str]], *, each: int) -> dict[str, list[int]]:
    """Return how many requests of others each owner's requests saw go first; one goes each `each` ticks."""
    waiting = Line[Asker]()
    came: dict[int, int] = {}
    waits: dict[str, list[int]] = {}
    coming, gone = list(arrivals), 0
    for tick in range(100_000):
        while coming and coming[0][0] <= tick:
            owner = coming.pop(0)[1]
            number = len(came)
            came[number] = gone
            waiting.add(Asker(owner, number))
        if tick % each == 0 and (first := next(waiting.in_turn(), None)):
            waiting.take(first)
            waits.setdefault(first.owner, []).append(gone - came[first.number])
            gone += 1
        if not coming and not len(waiting):
            break
    return waits


def test_a_small_owner_waits_for_the_number_of_owners_and_not_of_requests() -> None:
    """Four greedy owners with 500 requests each, and ten small ones that ask for one thing at a time."""
    greedy = [(0, f"greedy-{number % 4}") for number in range(2000)]
    small = [(tick, f"small-{tick // 50 % 10}") for tick in range(100, 1900, 50)]
    waits = served(sorted(greedy + small), each=1)
    owners = 4 + 10
    assert max(max(waits[f"small-{number}"]) for number in range(10)) <= owners
    assert max(waits["greedy-0"]) > 1000
    assert Counter({owner: len(found) for owner, found in waits.items()}).total() == len(greedy) + len(small)
