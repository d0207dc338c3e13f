"""Samplers and schedules over HTTP, in the spellings of four systems."""

from typing import Any

import pytest

from contract.stack import Model, refusal

ASKED: dict[str, Any] = {"prompt": "a red circle", "seed": 3, "size": "32x32", "steps": 3}


@pytest.fixture(scope="module")
def heun(plain: Model) -> str:
    """What a sampler draws that no spelling below is one of."""
    return plain.file(**ASKED, sampler="heun")


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
def test_spellings(plain: Model, heun: str, written: dict[str, str], meant: dict[str, str]) -> None:
    drawn = plain.file(**ASKED, **written)

    assert drawn == plain.file(**ASKED, **meant)
    assert drawn != heun


def test_schedulers_differ(plain: Model) -> None:
    samplers = ("ddim", "euler", "euler_a", "heun", "dpmpp_2m", "unipc", "lcm", "dpm_2")
    schedules = ("discrete", "karras", "exponential", "sgm_uniform")

    drawn = [plain.file(**ASKED, sampler=sampler) for sampler in samplers]
    drawn += [plain.file(**ASKED, sampler="euler", schedule=schedule) for schedule in schedules[1:]]

    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"sampler": "zigzag"}, "sampler", "euler_a"),
        ({"schedule": "zigzag"}, "schedule", "karras"),
        ({"scheduler": "zigzag"}, "scheduler", "karras"),
        ({"sampler": "ipndm"}, "sampler", "euler_a"),
        ({"schedule": "gits"}, "schedule", "karras"),
        ({"sampler": "k_euler", "schedule": "exponential"}, "sampler", "karras and exponential"),
        ({"sampler": "pndm", "schedule": "karras"}, "schedule", "leave the field out"),
    ],
    ids=str,
)
def test_what_there_is_not_is_refused_with_what_there_is(
    plain: Model, fields: dict[str, str], param: str, says: str
) -> None:
    error = refusal(plain.post(**ASKED, **fields))

    assert error["param"] == param
    assert says in error["message"]
