from dataclasses import replace
from typing import Any

import pytest

from heliograph_api.defaults import GenerationDefaults
from heliograph_api.errors import APIError
from heliograph_api.images import ImageRequest
from heliograph_runtime.engines.protocol import Capabilities
from heliograph_runtime.images.planning import Plan, plan_images

ABLE = Capabilities(
    pipeline="StableDiffusionPipeline",
    device="cpu",
    dtype="float32",
    width=512,
    height=512,
    size_multiple=8,
    samplers=("ddim", "euler_a"),
    negative_prompt=True,
    max_clip_skip=11,
    max_steps=999,
    steps=20,
    guidance_scale=9.0,
    sampler="euler_a",
)
UNABLE = replace(
    ABLE, samplers=(), negative_prompt=False, max_clip_skip=None, steps=None, guidance_scale=None, sampler=None
)
FULL = GenerationDefaults(
    steps=30,
    guidance_scale=8.0,
    sampler="DDIM",
    seed=42,
    negative_prompt="blue",
    clip_skip=2,
    width=256,
    height=128,
)


def plan(
    *,
    capabilities: Capabilities = ABLE,
    defaults: GenerationDefaults = GenerationDefaults(),  # noqa: B008 - frozen
    family_sampler: bool = False,
    **fields: Any,
) -> Plan:
    request = replace(ImageRequest(prompts=("a cat",)), **fields)
    return plan_images(
        request, capabilities=capabilities, defaults=defaults, family_sampler=family_sampler, random_seed=7
    )


def test_the_family_decides_where_nothing_else_does() -> None:
    found = plan()

    assert (found.sampling.width, found.sampling.height) == (512, 512)
    assert (found.sampling.steps, found.sampling.guidance_scale, found.sampling.clip_skip) == (20, 9.0, None)
    assert found.sampling.sampler is None
    assert found.negative_prompt is None
    assert found.seeds == (7,)


def test_the_models_defaults_come_before_the_familys() -> None:
    found = plan(defaults=FULL)

    assert (found.sampling.width, found.sampling.height) == (256, 128)
    assert (found.sampling.steps, found.sampling.guidance_scale, found.sampling.clip_skip) == (30, 8.0, 2)
    assert found.sampling.sampler == "ddim"
    assert found.negative_prompt == "blue"
    assert found.seeds == (42,)


def test_the_request_comes_first() -> None:
    found = plan(
        defaults=FULL,
        width=64,
        height=72,
        steps=4,
        guidance_scale=0.0,
        clip_skip=0,
        sampler="Euler a",
        negative_prompt="red",
        seed=0,
    )

    assert (found.sampling.width, found.sampling.height) == (64, 72)
    assert (found.sampling.steps, found.sampling.guidance_scale, found.sampling.clip_skip) == (4, 0.0, None)
    assert found.sampling.sampler == "euler_a"
    assert found.negative_prompt == "red"
    assert found.seeds == (0,)


def test_gpustacks_defaults_include_the_familys_sampler() -> None:
    assert plan(family_sampler=True).sampling.sampler == "euler_a"


def test_defaults_that_the_model_has_no_use_for_are_left_out() -> None:
    found = plan(capabilities=UNABLE, defaults=FULL)

    assert (found.sampling.steps, found.sampling.guidance_scale, found.sampling.clip_skip) == (None, None, None)
    assert found.sampling.sampler is None
    assert found.negative_prompt is None


def test_each_image_has_its_prompt_and_its_seed() -> None:
    found = plan(prompts=("a cat", "a dog"), n=2, seed=2**32 - 2)

    assert found.prompts == ("a cat", "a cat", "a dog", "a dog")
    assert found.seeds == (2**32 - 2, 2**32 - 1, 0, 1)


@pytest.mark.parametrize(("asked", "drawn"), [(16, 16), (17, 16), (23, 24), (508, 512), (3, 16)])
def test_sides_are_rounded_to_the_nearest_multiple(asked: int, drawn: int) -> None:
    multiple = 16 if asked == 3 else 8

    assert plan(capabilities=replace(ABLE, size_multiple=multiple), width=asked, height=16).sampling.width == drawn


@pytest.mark.parametrize(
    ("capabilities", "field", "value", "message"),
    [
        (UNABLE, "steps", 4, "StableDiffusionPipeline does not have it; leave the field out."),
        (UNABLE, "guidance_scale", 4.0, "StableDiffusionPipeline does not have it; leave the field out."),
        (UNABLE, "clip_skip", 1, "StableDiffusionPipeline does not have it; leave the field out."),
        (UNABLE, "negative_prompt", "red", "StableDiffusionPipeline does not have it; leave the field out."),
        (UNABLE, "sampler", "ddim", "leave the field out: this model keeps its own sampler"),
        (ABLE, "sampler", "heun", "send one of ddim, euler_a"),
        (ABLE, "clip_skip", 12, "must be from 0 to 11"),
        (ABLE, "steps", 1000, "must be from 1 to 999"),
    ],
)
def test_what_the_model_cannot_do_is_refused_by_name(
    capabilities: Capabilities, field: str, value: object, message: str
) -> None:
    asked: dict[str, Any] = {field: value}
    with pytest.raises(APIError) as caught:
        plan(capabilities=capabilities, **asked)

    assert caught.value.status == 400
    assert caught.value.param == field
    assert message in caught.value.message
