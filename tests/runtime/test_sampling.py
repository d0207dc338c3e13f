from dataclasses import replace
from typing import Any

import pytest

from heliograph_api.defaults import GenerationDefaults
from heliograph_api.errors import APIError
from heliograph_runtime.engines.protocol import Capabilities, Sampling
from runtime.capable import (
    ABLE,
    CHANGING,
    CONTROL,
    DISTILLED,
    FILMING,
    IMAGE,
    MASK,
    UNABLE,
    UPSCALING,
    ask,
    check_refusal,
    plan,
)

FULL = GenerationDefaults(steps=30, guidance_scale=8.0, sampler="DPM++ 2M Karras", clip_skip=2)
QWEN = replace(ABLE, guidance_scale=None, true_cfg_scale=4.0)


def sampling(
    capabilities: Capabilities = ABLE,
    defaults: GenerationDefaults = GenerationDefaults(),  # noqa: B008 - frozen
    *,
    operation: str = "generate",
    family_sampler: bool = False,
    **fields: Any,
) -> Sampling:
    request = ask(operation, **fields)
    (planned,) = plan(request, capabilities=capabilities, defaults=defaults, family_sampler=family_sampler)
    return planned.sampling


def test_the_family_decides_where_nothing_else_does() -> None:
    assert sampling() == Sampling("text", 512, 512, steps=20, guidance_scale=9.0)


def test_the_models_defaults_come_before_the_familys() -> None:
    found = sampling(ABLE, FULL)

    assert (found.steps, found.guidance_scale, found.clip_skip) == (30, 8.0, 2)
    assert (found.sampler, found.schedule) == ("dpmpp_2m", "karras")


def test_the_request_comes_first() -> None:
    found = sampling(ABLE, FULL, steps=4, guidance_scale=0.0, clip_skip=0, sampler="euler_a")

    assert (found.steps, found.guidance_scale, found.clip_skip) == (4, 0.0, None)
    assert (found.sampler, found.schedule) == ("euler_a", None)


def test_a_schedule_alone_goes_with_the_default_sampler() -> None:
    found = sampling(ABLE, FULL, schedule="discrete")

    assert (found.sampler, found.schedule) == ("dpmpp_2m", "discrete")


def test_gpustacks_defaults_include_the_familys_sampler() -> None:
    assert sampling(family_sampler=True).sampler == "euler_a"
    assert sampling(defaults=FULL, family_sampler=True).sampler == "dpmpp_2m"


def test_defaults_that_the_model_has_no_use_for_are_left_out() -> None:
    assert sampling(UNABLE, FULL) == Sampling("text", 512, 512)
    assert sampling(replace(ABLE, max_steps=8), FULL).steps == 8


@pytest.mark.parametrize(
    ("capabilities", "asked", "scales"),
    [
        (ABLE, {}, (9.0, None)),
        (ABLE, {"guidance_scale": 4.0, "guidance": 3.5}, (4.0, None)),
        (ABLE, {"guidance": 3.5}, (9.0, None)),
        (DISTILLED, {}, (3.5, None)),
        (DISTILLED, {"guidance": 2.0}, (2.0, None)),
        (DISTILLED, {"guidance_scale": 4.0}, (4.0, None)),
        (DISTILLED, {"guidance_scale": 4.0, "guidance": 2.0}, (2.0, 4.0)),
        (DISTILLED, {"guidance_scale": 4.0, "guidance": 2.0, "true_cfg_scale": 1.5}, (2.0, 1.5)),
        (DISTILLED, {"guidance_scale": 4.0, "true_cfg_scale": 1.5}, (4.0, 1.5)),
        (QWEN, {}, (None, None)),
        (QWEN, {"guidance_scale": 5.0}, (None, 5.0)),
        (QWEN, {"true_cfg_scale": 5.0}, (None, 5.0)),
    ],
)
def test_guidance(capabilities: Capabilities, asked: dict[str, Any], scales: tuple[float | None, float | None]) -> None:
    found = sampling(capabilities, **asked)

    assert (found.guidance_scale, found.true_cfg_scale) == scales


def test_the_models_scale_is_the_distilled_one_and_never_the_true_one() -> None:
    assert sampling(DISTILLED, FULL).guidance_scale == 8.0
    assert sampling(QWEN, FULL).true_cfg_scale is None


@pytest.mark.parametrize(
    ("fields", "strength"),
    [
        ({"images": (IMAGE,)}, 0.75),
        ({"images": (IMAGE,), "strength": 0.3}, 0.3),
        ({"images": (IMAGE,), "mask": MASK}, 1.0),
        ({"images": (IMAGE,), "steps": 1}, 1.0),
        ({"strength": 0.3}, None),
    ],
)
def test_strength(fields: dict[str, Any], strength: float | None) -> None:
    assert sampling(**fields).strength == strength


def test_edit_models_take_no_heed_of_strength() -> None:
    assert sampling(FILMING, images=(IMAGE,), strength=0.0).strength is None


@pytest.mark.parametrize(("steps", "strength", "least"), [(20, 0.0, "0.05"), (20, 0.049, "0.05"), (3, 0.3, "0.34")])
def test_a_strength_that_leaves_no_step_is_refused(steps: int, strength: float, least: str) -> None:
    with pytest.raises(APIError) as caught:
        sampling(images=(IMAGE,), steps=steps, strength=strength)

    check_refusal(caught.value, param="strength", says=f"send at least {least},")
    assert sampling(images=(IMAGE,), steps=steps, strength=float(least)).strength == float(least)


LACKING = replace(
    DISTILLED,
    modes={"image": replace(CHANGING, control_lacks=("negative_prompt", "true_cfg_scale", "strength"))},
)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"true_cfg_scale": 4.0}, "true_cfg_scale"),
        ({"guidance": 3.0, "guidance_scale": 4.0}, "guidance_scale"),
        ({"strength": 0.5}, "strength"),
        ({"negative_prompts": ("grey",)}, "negative_prompt"),
    ],
)
def test_what_has_no_effect_beside_a_control_image_is_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(APIError) as caught:
        sampling(LACKING, images=(IMAGE,), control_image=CONTROL, **fields)

    check_refusal(caught.value, param=param, says="beside a control image", code="unsupported")
    assert sampling(LACKING, images=(IMAGE,), **fields).mode == "image"


def test_defaults_that_have_no_effect_beside_a_control_image_are_left_out() -> None:
    request = ask(images=(IMAGE,), control_image=CONTROL, true_cfg_scale=1.0)
    (planned,) = plan(request, capabilities=LACKING, defaults=GenerationDefaults(negative_prompt="grey"))

    assert (planned.sampling.true_cfg_scale, planned.sampling.strength, planned.negative_prompt) == (None, None, None)


def test_the_control_strength_needs_a_control_image() -> None:
    assert sampling(control_image=CONTROL).control_strength == 0.9
    assert sampling(control_image=CONTROL, control_strength=0.0).control_strength == 0.0
    assert sampling(control_strength=0.5).control_strength is None


def test_frames_and_factors() -> None:
    found = sampling(FILMING, images=(IMAGE,), num_frames=9)
    assert (found.frames, found.fps) == (9, 8)

    enlarging = replace(ABLE, modes={"upscale": UPSCALING})
    assert sampling(enlarging, operation="upscale", images=(IMAGE,)).upscale == 2
    assert sampling(enlarging, operation="upscale", images=(IMAGE,), scale=3).upscale == 3


def test_the_steps_that_are_taken() -> None:
    assert Sampling("text", 8, 8, steps=20).steps_taken == 20
    assert Sampling("image", 8, 8, steps=20, strength=0.75).steps_taken == 15
    assert Sampling("text", 8, 8).steps_taken == 0


@pytest.mark.parametrize(
    ("capabilities", "field", "value", "message"),
    [
        (UNABLE, "steps", 4, "TextPipeline does not have it; leave the field out."),
        (UNABLE, "guidance_scale", 4.0, "TextPipeline does not have it; leave the field out."),
        (UNABLE, "true_cfg_scale", 4.0, "TextPipeline does not have it; leave the field out."),
        (ABLE, "true_cfg_scale", 4.0, "TextPipeline does not have it; leave the field out."),
        (UNABLE, "clip_skip", 1, "TextPipeline does not have it; leave the field out."),
        (UNABLE, "sampler", "ddim", "leave the field out: it keeps its own sampler"),
        (UNABLE, "schedule", "karras", "leave the field out: it keeps its own schedule"),
        (UNABLE, "scale", 2, "is for the path images/upscale"),
        (ABLE, "sampler", "heun", "send one of ddim, euler_a, dpmpp_2m"),
        (ABLE, "schedule", "ays", "send one of discrete, karras"),
        (ABLE, "clip_skip", 12, "must be from 0 to 11"),
        (ABLE, "steps", 1000, "must be from 1 to 999"),
    ],
)
def test_what_the_model_cannot_do_is_refused_by_name(
    capabilities: Capabilities, field: str, value: object, message: str
) -> None:
    asked: dict[str, Any] = {field: value}
    with pytest.raises(APIError) as caught:
        sampling(capabilities, **asked)

    check_refusal(caught.value, param=field, says=message)
