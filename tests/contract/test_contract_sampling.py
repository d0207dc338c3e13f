"""Samplers and schedules over HTTP: every name of the table, and the spellings of four systems."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from contract.differences import ALIKE, FIXED_SAMPLER, SAMPLERS, SCHEDULES
from contract.models import EngineName
from contract.stack import Model, refusal
from heliograph_api import sampler_table

ASKED: dict[str, Any] = {"prompt": "a red circle", "seed": 3, "size": "32x32", "steps": 3}
NAMES = [("sampler", row.name) for row in sampler_table.SAMPLERS]
NAMES += [("schedule", row.name) for row in sampler_table.SCHEDULES]
SERVED = {"sampler": SAMPLERS, "schedule": SCHEDULES}

Draw = Callable[[str, str], str]


@pytest.fixture(scope="module")
def drawn(plain: Model) -> Draw:
    """What is drawn with a sampler, or with a schedule; once for each."""
    return cache(lambda field, name: plain.file(**{**ASKED, "sampler": "euler", field: name}))


@pytest.fixture(scope="module")
def heun(drawn: Draw) -> str:
    """What a sampler draws that no spelling below is one of."""
    return drawn("sampler", "heun")


@pytest.mark.parametrize(("field", "name"), NAMES)
def test_every_name_of_the_table_draws_or_is_refused_with_those_that_do(
    engine: EngineName, plain: Model, drawn: Draw, field: str, name: str
) -> None:
    served = SERVED[field].of(engine)
    if name in served:
        assert drawn(field, name)
    else:
        error = refusal(plain.post(**ASKED, **{field: name}))
        assert error["param"] == field
        assert f"send one of {', '.join(served)}." in error["message"]


def test_no_two_draw_the_same_unless_they_are_alike(engine: EngineName, drawn: Draw) -> None:
    pictures: dict[str, set[str]] = {}
    for field, names in SERVED.items():
        for name in names.of(engine):
            pictures.setdefault(drawn(field, name), set()).add(name)

    same = [names for names in pictures.values() if len(names) > 1]
    assert [names for names in same if not any(names <= alike for alike in ALIKE.of(engine))] == []


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"scheduler_type": "k_dpmpp_2m"}, {"sampler": "dpmpp_2m", "schedule": "karras"}),
        ({"sample_method": "dpm++2m", "schedule": "karras"}, {"sampler": "dpmpp_2m", "schedule": "karras"}),
        ({"sampler_name": "DPM++ 2M Karras"}, {"sampler": "dpmpp_2m", "schedule": "karras"}),
        ({"sampler_name": "DPM++ 2M", "scheduler": "Karras"}, {"sampler": "dpmpp_2m", "schedule": "karras"}),
        ({"scheduler": "k_dpmpp_2m"}, {"sampler": "dpmpp_2m", "schedule": "karras"}),
        ({"scheduler": "euler_a"}, {"sampler": "euler_a"}),
        ({"sampler": "Euler a"}, {"sampler": "euler_a"}),
        ({"sampler": "euler_ancestral"}, {"sampler": "euler_a"}),
        ({"sample_method": "dpm2", "schedule_method": "discrete"}, {"sampler": "dpm_2", "schedule": "discrete"}),
        ({"sampler": "k_dpp_sde"}, {"sampler": "dpmpp_sde", "schedule": "karras"}),
        ({"sampler": "default", "schedule": "default"}, {}),
        ({"sampler_name": "Euler", "scheduler": "Automatic"}, {"sampler": "euler"}),
    ],
    ids=str,
)
def test_spellings(engine: EngineName, plain: Model, heun: str, written: dict[str, str], meant: dict[str, str]) -> None:
    if meant.get("sampler", "euler") in SAMPLERS.of(engine):
        drawn = plain.file(**ASKED, **written)
        assert drawn == plain.file(**ASKED, **meant)
        assert drawn != heun
    else:
        assert f"{meant['sampler']!r} is not served" in refusal(plain.post(**ASKED, **written))["message"]


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"sampler": "zigzag"}, "sampler", "euler_a"),
        ({"schedule": "zigzag"}, "schedule", "karras"),
        ({"scheduler": "zigzag"}, "scheduler", "karras"),
        ({"sampler": "k_euler", "schedule": "exponential"}, "sampler", "karras and exponential"),
    ],
    ids=str,
)
def test_what_there_is_not_is_refused_with_what_there_is(
    plain: Model, fields: dict[str, str], param: str, says: str
) -> None:
    error = refusal(plain.post(**ASKED, **fields))

    assert error["param"] == param
    assert says in error["message"]


def test_a_sampler_without_noise_levels_of_choice_takes_no_schedule(engine: EngineName, plain: Model) -> None:
    param, says = FIXED_SAMPLER.of(engine)
    error = refusal(plain.post(**ASKED, sampler="pndm", schedule="karras"))

    assert error["param"] == param
    assert says in error["message"]
