"""What applies where a request is silent."""

from typing import Any

import pytest

from heliograph_api.defaults import GenerationDefaults, generation_defaults
from heliograph_api.spec import parse_spec


def defaults(compat: str | None = None, **raw: Any) -> GenerationDefaults:
    raw["parameters"] = {"model": "a/b", **raw.get("parameters", {})}
    return generation_defaults(parse_spec({**raw, "serving": {"compat": compat} if compat else {}}))


def test_a_silent_model_leaves_everything_to_its_family() -> None:
    assert defaults() == GenerationDefaults()


def test_compat_selects_the_documented_set() -> None:
    assert defaults("gpustack") == GenerationDefaults(width=512, height=512)
    assert defaults("localai") == GenerationDefaults(steps=30, guidance_scale=8, width=512, height=512)
    assert defaults("sd-api-server") == GenerationDefaults(
        steps=20, guidance_scale=7, sampler="euler_a", seed=42, width=512, height=512
    )


def test_the_imagemodel_goes_before_compat() -> None:
    found = defaults("sd-api-server", step=5, cfg_scale=1, parameters={"seed": 3}, diffusers={"scheduler_type": "ddim"})
    assert (found.steps, found.guidance_scale, found.seed, found.sampler) == (5, 1, 3, "ddim")


@pytest.mark.parametrize(
    ("raw", "scale"),
    [
        ({"cfg_scale": 3, "diffusers": {"cfg_scale": 4}, "options": ["cfg_scale:5"]}, 3),
        ({"diffusers": {"cfg_scale": 4}, "options": ["cfg_scale:5"]}, 4),
        ({"options": ["true_cfg_scale:4.0", "cfg_scale:6"]}, 6),
        ({"options": ["guidance_scale: 6.5"]}, 6.5),
        ({"cfg_scale": 0, "diffusers": {"cfg_scale": 4}}, 0),
        ({"options": ["true_cfg_scale:4.0"]}, None),
    ],
)
def test_the_guidance_scale_is_found_in_each_of_its_places(raw: dict[str, Any], scale: float | None) -> None:
    assert defaults(**raw).guidance_scale == scale


@pytest.mark.parametrize(
    ("raw", "sampler"),
    [
        ({"diffusers": {"scheduler_type": "k_dpmpp_2m"}}, "k_dpmpp_2m"),
        ({"diffusers": {"scheduler_type": ""}}, None),
        ({"options": ["sampler:euler"]}, None),
        ({"backend": "sdcpp", "options": ["scheduler:simple", "sampler:euler"]}, "euler"),
        ({"backend": "sdcpp", "diffusers": {"scheduler_type": "k_dpmpp_2m"}}, None),
    ],
)
def test_the_sampler_is_the_one_that_the_engine_reads(raw: dict[str, Any], sampler: str | None) -> None:
    assert defaults(**raw).sampler == sampler


@pytest.mark.parametrize(
    ("raw", "clip_skip"),
    [
        ({"parameters": {"clip_skip": 2}}, 2),
        ({"parameters": {"clip_skip": 2}, "diffusers": {"clip_skip": 3}}, 3),
        ({"parameters": {"clip_skip": 2}, "diffusers": {"clip_skip": 0}}, 2),
        ({"diffusers": {"clip_skip": 0}}, None),
    ],
)
def test_clip_skip_is_found_in_both_of_its_places(raw: dict[str, Any], clip_skip: int | None) -> None:
    assert defaults(**raw).clip_skip == clip_skip


@pytest.mark.parametrize(("seed", "found"), [(-1, 42), (0, 0), (7, 7)])
def test_minus_one_is_no_seed(seed: int, found: int) -> None:
    assert defaults("sd-api-server", parameters={"seed": seed}).seed == found


def test_zero_steps_are_no_steps() -> None:
    assert defaults(step=0).steps is None


def test_the_negative_prompt_is_that_of_parameters() -> None:
    assert defaults(parameters={"negative_prompt": "blurry"}).negative_prompt == "blurry"
    assert defaults(parameters={"negative_prompt": ""}).negative_prompt is None
