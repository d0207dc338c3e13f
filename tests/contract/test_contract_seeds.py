"""Seeds over HTTP: what is random, what is pinned, and what the answer says of it."""

from typing import Any

import pytest

from contract.models import PINNED
from contract.stack import SMALL, Model, events
from runtime.runtimes import difference


def seeds(model: Model, **fields: Any) -> list[int]:
    return [item["seed"] for item in model.answer(prompt="a red circle", **SMALL, **fields)["data"]]


@pytest.mark.parametrize(
    ("asked", "used"),
    [
        ({"seed": 11, "n": 3}, [11, 12, 13]),
        ({"seed": 0}, [0]),
        ({"seed": "11"}, [11]),
        ({"n": 2}, [PINNED, PINNED + 1]),
        ({"seed": None}, [PINNED]),
        ({"seed": "null"}, [PINNED]),
        ({"seed": 2**32 - 1, "n": 2}, [2**32 - 1, 0]),
        ({"seed": 2**32 + 11}, [11]),
    ],
    ids=str,
)
def test_picture_i_has_the_seed_plus_i(plain: Model, asked: dict[str, Any], used: list[int]) -> None:
    assert seeds(plain, **asked) == used


def test_a_negative_seed_is_random_even_where_one_is_pinned(plain: Model) -> None:
    found = seeds(plain, seed=-1, n=2) + seeds(plain, seed="-7")

    assert found[1] == (found[0] + 1) % 2**32
    assert PINNED not in found
    assert len(set(found)) == 3


def test_a_seed_that_nothing_names_is_random_and_told(adapted: Model) -> None:
    (first,), (other,) = (adapted.answer(prompt="a red circle", **SMALL)["data"] for _ in range(2))

    assert first["seed"] != other["seed"]
    assert first["b64_json"] == adapted.file(prompt="a red circle", **SMALL, seed=first["seed"])
    assert first["b64_json"] != other["b64_json"]


def test_the_seed_decides_the_picture(plain: Model) -> None:
    first, again, other = (plain.file(prompt="a red circle", **SMALL, seed=seed) for seed in (7, 7, 8))

    assert first == again
    assert first != other


def test_a_picture_is_near_the_same_in_a_batch(plain: Model) -> None:
    together = plain.draw(prompt="a red circle", **SMALL, seed=7, n=4)
    alone = [plain.draw_one(prompt="a red circle", **SMALL, seed=seed) for seed in (7, 8, 9, 10)]

    assert max(map(difference, together, alone)) <= 1
    assert difference(alone[0], alone[1]) > 20


def test_a_stream_tells_the_seeds_too(plain: Model) -> None:
    told = events(plain.post(prompt="a red circle", **SMALL, seed=7, n=2, stream=True))

    assert {event["index"]: event["seed"] for event in told} == {0: 7, 1: 8}
