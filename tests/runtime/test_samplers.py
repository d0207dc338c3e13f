import pytest

from heliograph_runtime.engines.samplers import SAMPLERS, find_sampler


@pytest.mark.parametrize(
    ("spelling", "sampler"),
    [
        ("euler_a", "euler_a"),
        ("Euler a", "euler_a"),
        ("euler_ancestral", "euler_a"),
        ("dpm++2m", "dpmpp_2m"),
        ("DPM++ 2M", "dpmpp_2m"),
        ("DPM++ 2M Karras", "k_dpmpp_2m"),
        ("dpmpp2m", "dpmpp_2m"),
        ("k_dpp_sde", "k_dpmpp_sde"),
        ("dpm2", "dpm_2"),
        ("DPM2 a", "dpm_2_a"),
        ("K_DPM_2_A", "k_dpm_2_a"),
        ("k-euler", "k_euler"),
    ],
)
def test_finds_a_sampler_in_any_spelling(spelling: str, sampler: str) -> None:
    assert find_sampler(spelling, SAMPLERS) == sampler


def test_finds_each_sampler_by_its_own_name() -> None:
    assert [find_sampler(sampler, SAMPLERS) for sampler in SAMPLERS] == list(SAMPLERS)


@pytest.mark.parametrize("name", ["", "ddpm", "k_ddim", "euler b", "karras", "dpm++"])
def test_finds_nothing_else(name: str) -> None:
    assert find_sampler(name, SAMPLERS) is None


def test_finds_only_what_is_offered() -> None:
    assert find_sampler("ddim", ["euler"]) is None
