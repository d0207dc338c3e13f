"""What a model's spec says about requests."""

from dataclasses import replace
from typing import Any

import pytest

from heliograph_api.errors import APIError
from heliograph_api.images.inputs import InputImage
from heliograph_api.images.model_rules import apply_model, check_limits
from heliograph_api.images.request import ImageRequest
from heliograph_api.serving import RequestLimits
from heliograph_api.spec import ImageModelSpec, parse_spec

BARE = ImageRequest("generate", ("a cat",), (None,))


def spec(**fields: Any) -> ImageModelSpec:
    return parse_spec({"parameters": {"model": "m"}, **fields})


def applied(*prompts: str, negative: str | None = None, **fields: Any) -> ImageRequest:
    return apply_model(replace(BARE, prompts=prompts, negative_prompts=(negative,) * len(prompts)), spec(**fields))


@pytest.mark.parametrize(
    ("prompt", "positive", "negative"),
    [
        ("a cat", "a cat", None),
        ("a cat|blurry", "a cat", "blurry"),
        ("a cat | blurry | dark", "a cat", "blurry | dark"),
        ("a cat|", "a cat", None),
        ("|blurry", "|blurry", None),
        (r"a \| b", "a | b", None),
        (r"a \| b | c \| d", "a | b", "c | d"),
        ("a {red|blue} cat|blurry", "a {red|blue} cat", "blurry"),
        ("a [red|blue] cat", "a [red|blue] cat", None),
        ("a cat :} | blurry", "a cat :}", "blurry"),
    ],
)
def test_a_bar_separates_the_negative_prompt(prompt: str, positive: str, negative: str | None) -> None:
    request = applied(prompt)
    assert (request.prompts, request.negative_prompts) == ((positive,), (negative,))


def test_a_negative_prompt_of_its_own_leaves_the_bar_alone() -> None:
    assert applied("a|b", negative="blurry").prompts == ("a|b",)
    assert applied(r"a\|b", negative="blurry").prompts == ("a|b",)


def test_a_model_may_leave_the_bar_alone() -> None:
    request = applied("a|b", serving={"splitPrompt": False})
    assert (request.prompts, request.negative_prompts) == (("a|b",), (None,))


def test_each_prompt_has_its_own_negative_prompt() -> None:
    request = applied("a cat", "a dog|blurry")
    assert request.prompts == ("a cat", "a dog")
    assert request.negative_prompts == (None, "blurry")


USED: dict[str, dict[str, Any]] = {
    "negative_prompt": {"negative_prompts": ("blurry",)},
    "num_inference_steps": {"steps": 20},
    "image": {"images": (InputImage("image", b""),)},
    "clip_skip": {"clip_skip": 1},
}


@pytest.mark.parametrize("used", USED)
@pytest.mark.parametrize(
    ("written", "allowed"),
    [
        (None, set(USED)),
        ("", set(USED)),
        ("none", set()),
        ("negative_prompt,num_inference_steps,clip_skip", {"negative_prompt", "num_inference_steps", "clip_skip"}),
        (" image , num_inference_steps", {"image", "num_inference_steps"}),
    ],
)
def test_enable_parameters_is_a_whitelist(written: str | None, allowed: set[str], used: str) -> None:
    model = spec(diffusers={"enable_parameters": written} if written is not None else {})
    request = replace(BARE, **USED[used])
    if used in allowed:
        assert apply_model(request, model) == request
        return
    with pytest.raises(APIError) as caught:
        apply_model(request, model)
    assert caught.value.status == 400
    assert caught.value.param == {"num_inference_steps": "steps"}.get(used, used)
    assert f"enable_parameters leaves out {used}" in caught.value.message


def test_the_whitelist_is_about_what_a_request_says_and_a_split_prompt_says_it() -> None:
    with pytest.raises(APIError, match="leaves out negative_prompt"):
        applied("a cat|blurry", diffusers={"enable_parameters": "none"})


@pytest.mark.parametrize(
    ("sides", "serving", "size"),
    [
        ({"width": 640}, {}, (640, 640)),
        ({"height": 640}, {}, (640, 640)),
        ({"width": 640}, {"compat": "sd-api-server"}, (640, 512)),
        ({"height": 640}, {"compat": "sd-api-server"}, (512, 640)),
        ({"width": 640, "height": 320}, {"compat": "sd-api-server"}, (640, 320)),
        ({}, {"compat": "sd-api-server"}, (None, None)),
    ],
)
def test_a_side_alone_gets_another(
    sides: dict[str, Any], serving: dict[str, str], size: tuple[int | None, int | None]
) -> None:
    request = apply_model(replace(BARE, **sides), spec(serving=serving))
    assert (request.width, request.height) == size


def test_a_side_alone_is_held_to_the_limits() -> None:
    with pytest.raises(APIError, match="size: 2049x2049 is too large"):
        apply_model(replace(BARE, width=2049), spec())


@pytest.mark.parametrize(
    ("fields", "limits"),
    [
        ({"n": 10}, RequestLimits()),
        ({"prompts": ("a", "b"), "n": 2}, RequestLimits(max_images=4)),
        ({"width": 2048, "height": 2048}, RequestLimits()),
        ({"width": 64, "height": 64}, RequestLimits(max_pixels=4096)),
        ({}, RequestLimits(max_pixels=4096)),
    ],
)
def test_a_request_within_the_limits(fields: dict[str, Any], limits: RequestLimits) -> None:
    check_limits(replace(BARE, **fields), limits)


@pytest.mark.parametrize(
    ("fields", "limits", "message"),
    [
        ({"n": 11}, RequestLimits(), "n: 11 images were asked for; this model draws at most 10"),
        ({"prompts": ("a", "b"), "n": 2}, RequestLimits(max_images=3), "n: 4 images were asked for"),
        ({"prompts": ("a", "b")}, RequestLimits(max_images=1), "prompt: 2 images were asked for"),
        ({"width": 2048, "height": 2049}, RequestLimits(), "size: 2048x2049 is too large"),
        (
            {"width": 65, "height": 64},
            RequestLimits(max_pixels=4096),
            "size: 65x64 is too large; ask for at most 64x64",
        ),
    ],
)
def test_a_request_beyond_the_limits(fields: dict[str, Any], limits: RequestLimits, message: str) -> None:
    with pytest.raises(APIError) as caught:
        check_limits(replace(BARE, **fields), limits)
    assert caught.value.status == 400
    assert caught.value.message.startswith(message)
