"""The request contract of the images endpoints."""

import json
from typing import Any

import pytest

from heliograph_api.errors import APIError
from heliograph_api.images import ALIASES, ImageRequest, check_limits, parse_image_request, requested_model
from heliograph_api.serving import RequestLimits

PROMPT = "a red circle on a white background"


def parse(**body: Any) -> ImageRequest:
    return parse_image_request({"prompt": PROMPT, **body})


def refusal(body: Any) -> APIError:
    with pytest.raises(APIError) as caught:
        parse_image_request(body)
    assert caught.value.status == 400
    json.dumps(caught.value.body()).encode()
    return caught.value


def test_the_smallest_request() -> None:
    assert parse() == ImageRequest(prompts=(PROMPT,))


def test_what_openai_clients_send() -> None:
    """Every field of OpenAI's CreateImageRequest, as openai-python sends it when all are given."""
    body = {
        "prompt": PROMPT, "background": "auto", "model": "gpt-image-1", "moderation": "low", "n": 2,
        "output_compression": 100, "output_format": "jpeg", "partial_images": 0, "quality": "high",
        "response_format": "b64_json", "size": "1024x1536", "stream": False, "style": "vivid", "user": "someone",
    }  # fmt: skip
    assert parse_image_request(body) == ImageRequest(
        prompts=(PROMPT,), model="gpt-image-1", n=2, width=1024, height=1536, response_format="b64_json",
        output_format="jpeg",
    )  # fmt: skip


@pytest.mark.parametrize("name", ALIASES["steps"])
def test_steps_have_many_names(name: str) -> None:
    assert parse(**{name: "20"}).steps == 20


@pytest.mark.parametrize("name", ALIASES["guidance_scale"])
def test_the_guidance_scale_has_two_names(name: str) -> None:
    assert parse(**{name: '"7.5"'}).guidance_scale == 7.5


@pytest.mark.parametrize("name", ALIASES["sampler"])
def test_the_sampler_has_many_names(name: str) -> None:
    assert parse(**{name: "euler_a"}).sampler == "euler_a"


def test_names_of_one_setting_may_agree() -> None:
    assert parse(step=20, steps="20", sample_steps=20.0, num_inference_steps=None).steps == 20


def test_names_of_one_setting_that_disagree_are_refused() -> None:
    error = refusal({"prompt": PROMPT, "steps": 20, "step": 20, "sample_steps": 30})
    assert error.code == "conflicting_fields"
    assert error.message == ("steps: steps and sample_steps name the same setting and disagree; send one of them.")


@pytest.mark.parametrize(
    ("body", "size"),
    [
        ({}, (None, None)),
        ({"size": "auto"}, (None, None)),
        ({"size": "640x480", "width": 1, "height": "x"}, (640, 480)),
        ({"size": "auto", "width": 640, "height": "480"}, (640, 480)),
        ({"width": 640}, (640, 640)),
        ({"height": 480}, (480, 480)),
        ({"size": 512}, (512, 512)),
    ],
)
def test_the_size_is_found_in_each_of_its_places(body: dict[str, Any], size: tuple[int | None, int | None]) -> None:
    request = parse(**body)
    assert (request.width, request.height) == size


@pytest.mark.parametrize(
    ("seed", "found"),
    [
        (None, None), ("null", None), (-1, None), (-42, None), (0, 0), (42, 42), ("42", 42), (2**32 - 1, 2**32 - 1),
        (2**32 + 5, 5), (2**63, 0),
    ],
    ids=repr,
)  # fmt: skip
def test_a_negative_seed_is_random_and_any_other_a_seed(seed: Any, found: int | None) -> None:
    assert parse(seed=seed).seed == found


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
    request = parse(prompt=prompt)
    assert request.prompts == (positive,)
    assert request.negative_prompt == negative


def test_a_negative_prompt_of_its_own_leaves_the_bar_alone() -> None:
    request = parse(prompt="a|b", negative_prompt="blurry")
    assert (request.prompts, request.negative_prompt) == (("a|b",), "blurry")
    assert parse(prompt="a|b", negative_prompt="").negative_prompt == "b"


def test_several_prompts_share_a_negative_prompt() -> None:
    request = parse(prompt=["a cat", "a dog|blurry"])
    assert request.prompts == ("a cat", "a dog")
    assert request.negative_prompt == "blurry"


def test_unknown_keys_are_ignored_and_named() -> None:
    assert parse(zebra=1, apple={"b": []}, **{"\ud83d": 1}).ignored == ("apple", "zebra")


@pytest.mark.parametrize(("value", "format_"), [(None, "png"), ("PNG", "png"), ("jpg", "jpeg"), ("webp", "webp")])
def test_the_output_format(value: str | None, format_: str) -> None:
    assert parse(output_format=value).output_format == format_


@pytest.mark.parametrize("empty", [None, "", [], "null"])
@pytest.mark.parametrize("name", ["image", "images", "file", "files", "ref_images", "mask", "control_image"])
def test_an_input_image_that_is_not_there_is_no_matter(name: str, empty: Any) -> None:
    assert parse(**{name: empty}) == ImageRequest(prompts=(PROMPT,))


@pytest.mark.parametrize(
    ("body", "param", "code", "message"),
    [
        (None, None, "invalid_body", "must be a JSON object"),
        ([PROMPT], None, "invalid_body", "must be a JSON object"),
        (PROMPT, None, "invalid_body", "must be a JSON object"),
        ({}, "prompt", "missing_required_parameter", "prompt: is required"),
        ({"prompt": None}, "prompt", "missing_required_parameter", "prompt: is required"),
        ({"prompt": 5}, "prompt", "missing_required_parameter", "prompt: is required"),
        ({"prompt": []}, "prompt", "missing_required_parameter", "prompt: is required"),
        ({"prompt": ["a", 5]}, "prompt", "missing_required_parameter", "prompt: is required"),
        ({"prompt": " \n"}, "prompt", "invalid_value", "prompt: must not be empty"),
        ({"prompt": ["a", ""]}, "prompt", "invalid_value", "prompt: must not be empty"),
        ({"prompt": "x" * 32_001}, "prompt", "invalid_value", "prompt: must have at most 32000 characters"),
        ({"prompt": "\ud83d"}, "prompt", "invalid_value", "prompt: must be Unicode text"),
        (
            {"prompt": PROMPT, "negative_prompt": 5},
            "negative_prompt",
            "invalid_type",
            "negative_prompt: must be a string",
        ),
        ({"prompt": PROMPT, "model": 5}, "model", "invalid_type", "model: must be a string"),
        ({"prompt": PROMPT, "model": "x" * 513}, "model", "invalid_value", "model: must have at most 512 characters"),
        ({"prompt": PROMPT, "model": "\ud83d"}, "model", "invalid_value", "model: must be Unicode text"),
        ({"prompt": PROMPT, "n": 0}, "n", "invalid_value", "n: must be from 1 to 1000, not 0"),
        ({"prompt": PROMPT, "n": "two"}, "n", "invalid_type", "n: must be a number"),
        ({"prompt": PROMPT, "n": 10**400}, "n", "invalid_value", "n: must be from 1 to 1000"),
        ({"prompt": PROMPT, "size": "big"}, "size", "invalid_value", "size: must be WIDTHxHEIGHT"),
        ({"prompt": PROMPT, "size": "8x8"}, "size", "invalid_value", "size: 8x8 is too small"),
        ({"prompt": PROMPT, "width": 0}, "width", "invalid_value", "width: must be from 16 to 65536, not 0"),
        ({"prompt": PROMPT, "steps": 0}, "steps", "invalid_value", "steps: must be from 1 to 1000, not 0"),
        (
            {"prompt": PROMPT, "sample_steps": 1001},
            "sample_steps",
            "invalid_value",
            "sample_steps: must be from 1 to 1000",
        ),
        ({"prompt": PROMPT, "cfg_scale": -1}, "cfg_scale", "invalid_value", "cfg_scale: must be from 0 to 100, not -1"),
        ({"prompt": PROMPT, "clip_skip": 25}, "clip_skip", "invalid_value", "clip_skip: must be from 0 to 24, not 25"),
        ({"prompt": PROMPT, "seed": 1.5}, "seed", "invalid_type", "seed: must be a whole number, not 1.5"),
        ({"prompt": PROMPT, "seed": 2**64}, "seed", "invalid_value", "seed: must be from"),
        ({"prompt": PROMPT, "sampler": ["euler"]}, "sampler", "invalid_type", "sampler: must be a string"),
        (
            {"prompt": PROMPT, "response_format": "url"},
            "response_format",
            "invalid_value",
            "response_format: 'url' is not",
        ),
        ({"prompt": PROMPT, "output_format": "gif"}, "output_format", "invalid_value", "output_format: 'gif' is not"),
        ({"prompt": PROMPT, "stream": True}, "stream", "unsupported", "stream: streaming is not served"),
        ({"prompt": PROMPT, "stream": "soon"}, "stream", "invalid_type", "stream: must be true or false"),
        ({"prompt": PROMPT, "image": "iVBORw0"}, "image", "unsupported", "image: this endpoint draws from text alone"),
        ({"prompt": PROMPT, "ref_images": ["x"]}, "ref_images", "unsupported", "ref_images: this endpoint"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(body: Any, param: str | None, code: str, message: str) -> None:
    error = refusal(body)
    assert (error.param, error.code) == (param, code)
    assert message in error.message


def test_the_model_is_read_from_any_body() -> None:
    assert requested_model({"model": "tiny"}) == "tiny"
    bodies: list[Any] = [{}, {"model": ""}, {"model": None}, None, [], "tiny"]
    assert [requested_model(body) for body in bodies] == [None] * len(bodies)


@pytest.mark.parametrize(
    ("request_", "limits"),
    [
        (ImageRequest(("a",), n=10), RequestLimits()),
        (ImageRequest(("a", "b"), n=2), RequestLimits(max_images=4)),
        (ImageRequest(("a",), width=2048, height=2048), RequestLimits()),
        (ImageRequest(("a",), width=64, height=64), RequestLimits(max_pixels=4096)),
        (ImageRequest(("a",)), RequestLimits(max_pixels=4096)),
    ],
)
def test_a_request_within_the_limits(request_: ImageRequest, limits: RequestLimits) -> None:
    check_limits(request_, limits)


@pytest.mark.parametrize(
    ("request_", "limits", "message"),
    [
        (ImageRequest(("a",), n=11), RequestLimits(), "n: 11 images were asked for; this model draws at most 10"),
        (ImageRequest(("a", "b"), n=2), RequestLimits(max_images=3), "n: 4 images were asked for"),
        (ImageRequest(("a", "b")), RequestLimits(max_images=1), "prompt: 2 images were asked for"),
        (ImageRequest(("a",), width=2048, height=2049), RequestLimits(), "size: 2048x2049 is too large"),
        (
            ImageRequest(("a",), width=65, height=64),
            RequestLimits(max_pixels=4096),
            "size: 65x64 is too large; ask for at most 64x64",
        ),
    ],
)
def test_a_request_beyond_the_limits(request_: ImageRequest, limits: RequestLimits, message: str) -> None:
    with pytest.raises(APIError) as caught:
        check_limits(request_, limits)
    assert caught.value.status == 400
    assert caught.value.message.startswith(message)
