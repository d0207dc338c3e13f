from collections.abc import Callable

import pytest

from heliograph_api.errors import APIError
from heliograph_api.sampler_table import SAMPLERS, SCHEDULES
from heliograph_api.samplers import (
    check_sampling,
    is_sampler,
    is_schedule,
    resolve_sampling,
    sampler_rows,
    schedule_rows,
)

# fmt: off
LOCALAI = (
    "ddim", "pndm", "heun", "unipc", "euler", "euler_a", "lms", "k_lms", "dpm_2", "k_dpm_2", "dpm_2_a", "k_dpm_2_a",
    "dpmpp_2m", "k_dpmpp_2m", "dpmpp_sde", "k_dpmpp_sde", "dpmpp_2m_sde", "k_dpmpp_2m_sde",
)
SD_API_SERVER = (
    "euler_a", "euler", "heun", "dpm2", "dpm++2s_a", "dpm++2m", "dpm++2mv2", "ipndm", "ipndm_v", "lcm",
)
GPUSTACK = (*SD_API_SERVER, "ddim_trailing", "tcd")
SDCPP_BINDING = (*GPUSTACK, "res_multistep", "res_2s", "er_sde")
LOCALAI_GGML = (*SDCPP_BINDING, "euler_cfg_pp", "euler_a_cfg_pp", "euler_ge", "dpm++2m_sde", "dpm++2m_sde_bt", "lms")
A1111 = (
    "DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 2S a", "DPM++ 3M SDE", "Euler a", "Euler",
    "LMS", "Heun", "DPM2", "DPM2 a", "DPM fast", "DPM adaptive", "Restart", "DDIM", "DDIM CFG++", "PLMS", "UniPC",
    "LCM",
)

GPUSTACK_SCHEDULES = ("discrete", "karras", "exponential", "ays", "gits")
SDCPP_BINDING_SCHEDULES = (
    *GPUSTACK_SCHEDULES, "sgm_uniform", "simple", "smoothstep", "kl_optimal", "lcm", "bong_tangent",
)
LOCALAI_GGML_SCHEDULES = (*SDCPP_BINDING_SCHEDULES, "ltx2", "logit_normal", "flux2", "flux", "beta")
A1111_SCHEDULES = (
    "Uniform", "Karras", "Exponential", "Polyexponential", "SGM Uniform", "KL Optimal", "Align Your Steps", "Simple",
    "Normal", "Beta",
)
# fmt: on


def refusal(ask: Callable[[], object]) -> APIError:
    with pytest.raises(APIError) as caught:
        ask()
    assert caught.value.status == 400
    return caught.value


@pytest.mark.parametrize("names", [LOCALAI, LOCALAI_GGML, A1111], ids=["LocalAI", "stable-diffusion.cpp", "A1111"])
def test_knows_every_sampler_that_a_source_names(names: tuple[str, ...]) -> None:
    canonical = {row.name for row in SAMPLERS}

    assert all(is_sampler(name) for name in names)
    assert {resolve_sampling(name, None)[0] for name in names} <= canonical


@pytest.mark.parametrize("names", [LOCALAI_GGML_SCHEDULES, A1111_SCHEDULES], ids=["stable-diffusion.cpp", "A1111"])
def test_knows_every_schedule_that_a_source_names(names: tuple[str, ...]) -> None:
    canonical = {row.name for row in SCHEDULES}

    assert all(is_schedule(name) for name in names)
    assert {resolve_sampling(None, name)[1] for name in names} <= canonical


def test_all_names_of_localai_are_canonical_but_for_the_prefix() -> None:
    assert [resolve_sampling(name, None) for name in LOCALAI] == [
        (name.removeprefix("k_"), "karras" if name.startswith("k_") else None) for name in LOCALAI
    ]
    assert {row.name for row in SAMPLERS if row.localai} == {name.removeprefix("k_") for name in LOCALAI}
    assert all(row.diffusers for row in SAMPLERS if row.localai)


def test_the_column_of_sdcpp_is_what_its_binding_lists() -> None:
    assert {row.sdcpp for row in SAMPLERS} - {None} == set(SDCPP_BINDING)
    assert tuple(row.name for row in SCHEDULES if row.sdcpp) == SDCPP_BINDING_SCHEDULES
    assert all(row.sdcpp == row.ggml for row in SAMPLERS if row.sdcpp and row.ggml)


def test_sdcpp_has_all_that_gpustack_and_sd_api_server_document() -> None:
    rows = {row.name: row for row in SAMPLERS}

    assert tuple(rows[resolve_sampling(name, None)[0] or ""].sdcpp for name in GPUSTACK) == GPUSTACK
    assert set(GPUSTACK_SCHEDULES) <= {row.name for row in SCHEDULES if row.sdcpp}


def test_no_spelling_means_two_things() -> None:
    assert all(resolve_sampling(name, None) == (row.name, None) for row in SAMPLERS for name in row.spellings)
    assert all(resolve_sampling(None, name) == (None, row.name) for row in SCHEDULES for name in row.spellings)


@pytest.mark.parametrize(
    ("spelling", "sampler", "schedule"),
    [
        ("Euler a", "euler_a", None),
        ("EULER-A", "euler_a", None),
        ("euler_ancestral", "euler_a", None),
        ("dpm++2m", "dpmpp_2m", None),
        ("DPM++ 2M", "dpmpp_2m", None),
        ("dpmpp2m", "dpmpp_2m", None),
        ("dpm2", "dpm_2", None),
        ("DPM2 a Karras", "dpm_2_a", "karras"),
        ("DPM++ 2M Karras", "dpmpp_2m", "karras"),
        ("DPM++ 2M SDE Exponential", "dpmpp_2m_sde", "exponential"),
        ("k_dpp_sde", "dpmpp_sde", "karras"),
        ("K_DPM_2_A", "dpm_2_a", "karras"),
        ("k-euler", "euler", "karras"),
        ("k_euler_a", "euler_a", "karras"),
        ("k_dpmpp_2m Karras", "dpmpp_2m", "karras"),
        ("PLMS", "pndm", None),
        ("default", None, None),
    ],
)
def test_reads_a_sampler_in_any_spelling(spelling: str, sampler: str | None, schedule: str | None) -> None:
    assert resolve_sampling(spelling, None) == (sampler, schedule)
    assert is_sampler(spelling) == (sampler is not None)


@pytest.mark.parametrize(
    ("spelling", "schedule"),
    [
        ("Karras", "karras"),
        ("SGM Uniform", "sgm_uniform"),
        ("sgm-uniform", "sgm_uniform"),
        ("Align Your Steps", "ays"),
        ("normal", "discrete"),
        ("default", None),
        ("Automatic", None),
    ],
)
def test_reads_a_schedule_in_any_spelling(spelling: str, schedule: str | None) -> None:
    assert resolve_sampling("euler", spelling) == ("euler", schedule)
    assert is_schedule(spelling)


def test_nothing_asked_for_is_nothing_chosen() -> None:
    assert resolve_sampling(None, None) == (None, None)


@pytest.mark.parametrize("name", ["", "ddpm", "euler b", "karras", "k_", "dpm++", "k_k_euler", "+++"])
def test_an_unknown_sampler_is_refused_with_the_names_that_engines_have(name: str) -> None:
    error = refusal(lambda: resolve_sampling(name, None))

    assert not is_sampler(name)
    assert error.param == "sampler"
    names = error.message.split("send one of ")[1].rstrip(".").split(", ")
    assert names == [row.name for row in SAMPLERS if row.diffusers or row.sdcpp]


@pytest.mark.parametrize("name", ["", "euler", "k_karras", "turbo"])
def test_an_unknown_schedule_is_refused_with_the_names_that_engines_have(name: str) -> None:
    error = refusal(lambda: resolve_sampling("euler", name))

    assert not is_schedule(name)
    assert error.param == "schedule"
    assert all(row.name in error.message for row in SCHEDULES if row.diffusers or row.sdcpp)


def test_lcm_and_nothing_else_is_a_sampler_and_a_schedule() -> None:
    names = {name for row in (*SAMPLERS, *SCHEDULES) for name in row.spellings}

    assert {name.lower() for name in names if is_sampler(name) and is_schedule(name)} == {"lcm"}
    assert resolve_sampling("lcm", "lcm") == ("lcm", "lcm")


@pytest.mark.parametrize(
    ("sampler", "schedule", "both"),
    [
        ("k_euler", "exponential", ("karras", "exponential")),
        ("DPM++ 2M Karras", "discrete", ("karras", "discrete")),
        ("k_dpmpp_2m Exponential", None, ("karras", "exponential")),
    ],
)
def test_two_schedules_in_one_request_are_refused(sampler: str, schedule: str | None, both: tuple[str, str]) -> None:
    error = refusal(lambda: resolve_sampling(sampler, schedule))

    assert error.code == "conflicting_fields"
    assert all(name in error.message for name in (sampler, *both))


@pytest.mark.parametrize("schedule", ["karras", "Karras", "default", None])
def test_a_schedule_may_be_named_twice(schedule: str | None) -> None:
    assert resolve_sampling("k_euler", schedule) == ("euler", "karras")


def test_what_a_model_has_passes() -> None:
    check_sampling("euler", "karras", samplers=["euler"], schedules=["karras"])
    check_sampling("pndm", "discrete", samplers=["pndm"], schedules=["discrete", "karras"])
    check_sampling(None, None, samplers=[], schedules=[])


@pytest.mark.parametrize(
    ("sampler", "schedule", "param", "remedy"),
    [
        ("dpmpp_2m", None, "sampler", "send one of euler, pndm"),
        ("euler", "gits", "schedule", "send one of discrete, karras"),
        (None, "gits", "schedule", "send one of discrete, karras"),
        ("pndm", "karras", "schedule", "send another sampler"),
    ],
)
def test_what_a_model_lacks_is_refused_with_what_it_has(
    sampler: str | None, schedule: str | None, param: str, remedy: str
) -> None:
    served = {"samplers": ["euler", "pndm"], "schedules": ["discrete", "karras"]}
    error = refusal(lambda: check_sampling(sampler, schedule, **served))

    assert error.param == param
    assert remedy in error.message


@pytest.mark.parametrize("asked", [("euler", None), (None, "karras")])
def test_a_model_that_keeps_its_own_says_so(asked: tuple[str | None, str | None]) -> None:
    error = refusal(lambda: check_sampling(*asked, samplers=[], schedules=[]))

    assert "leave the field out" in error.message


def test_the_rows_for_documentation_say_what_the_table_says() -> None:
    samplers = {row[0]: row[1:] for row in sampler_rows()}
    schedules = {row[0]: row[1:] for row in schedule_rows()}

    assert (len(samplers), len(schedules)) == (len(SAMPLERS), len(SCHEDULES))
    assert samplers["dpmpp_2m"] == (
        "dpmpp_2m",
        "dpm++2m",
        "DPM++ 2M",
        "DPMSolverMultistepScheduler(algorithm_type=dpmsolver++, solver_order=2)",
        "",
        "dpm++2m",
    )
    assert samplers["restart"] == ("", "", "Restart", "", "", "")
    assert schedules["ays"] == ("Align Your Steps", "ays", "", "ays")
    assert schedules["gits"] == ("", "", "", "gits")
