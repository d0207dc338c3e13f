"""Reading a request for pictures."""

import json
from typing import Any

import pytest

from heliograph_api.errors import APIError
from heliograph_api.images.fields import FIELDS, Field
from heliograph_api.images.inputs import InputImage, Upload
from heliograph_api.images.paths import IMAGE_PATHS
from heliograph_api.images.request import ImageRequest, parse_image_request

PROMPT = "a red circle on a white background"
PNG = b"\x89PNG\r\n\x1a\n"
GENERATIONS = "/v1/images/generations"
EDITS = "/v1/images/edits"


def parse(path: str = GENERATIONS, /, **body: Any) -> ImageRequest:
    return parse_image_request({"prompt": PROMPT, **body}, path=path)


def smallest(**fields: Any) -> ImageRequest:
    return ImageRequest(**{"operation": "generate", "prompts": (PROMPT,), "negative_prompts": (None,)} | fields)


def refusal(body: Any, *, path: str = GENERATIONS) -> APIError:
    with pytest.raises(APIError) as caught:
        parse_image_request(body, path=path)
    assert caught.value.status == 400
    json.dumps(caught.value.body()).encode()
    return caught.value


def test_the_smallest_request() -> None:
    assert parse() == smallest()


def test_every_path_says_what_it_is_for() -> None:
    assert {path: parse(path, image=Upload(PNG)).operation for path in IMAGE_PATHS} == IMAGE_PATHS
    assert len(IMAGE_PATHS) == 3 * 7 + 1


def test_what_openai_clients_send() -> None:
    """Every field of OpenAI's CreateImageRequest, as openai-python sends it when all are given."""
    body: dict[str, Any] = {
        "prompt": PROMPT, "background": "auto", "model": "gpt-image-1", "moderation": "low", "n": 2,
        "output_compression": 100, "output_format": "jpeg", "partial_images": 0, "quality": "high",
        "response_format": "b64_json", "size": "1024x1536", "stream": False, "style": "vivid", "user": "someone",
    }  # fmt: skip
    assert parse(**body) == smallest(
        model="gpt-image-1", n=2, width=1024, height=1536, response_format="b64_json", output_format="jpeg",
        output_compression=100, quality="high",
    )  # fmt: skip


VALUES: dict[str, tuple[Any, Any]] = {
    "model": ("tiny", "tiny"),
    "n": ("3", 3),
    "steps": ('"20"', 20),
    "guidance_scale": ('"7.5"', 7.5),
    "guidance": (3.5, 3.5),
    "true_cfg_scale": ("4", 4.0),
    "sampler": ("DPM++ 2M", "dpmpp_2m"),
    "schedule": ("Karras", "karras"),
    "seed": ("42", 42),
    "clip_skip": (2, 2),
    "loras": ('[{"id": 0, "scale": "0.5"}]', (("0", 0.5),)),
    "images": (Upload(PNG), (InputImage("", PNG),)),
    "reference_images": ([Upload(PNG)], (InputImage("", PNG),)),
    "mask": (Upload(PNG), InputImage("", PNG)),
    "invert_mask": ("true", True),
    "opaque_mask": ("true", True),
    "control_image": (Upload(PNG), InputImage("", PNG)),
    "last_image": (Upload(PNG), InputImage("", PNG)),
    "strength": ("0.5", 0.5),
    "control_strength": (0.9, 0.9),
    "scale": (4, 4),
    "num_frames": (16, 16),
    "fps": (8, 8),
    "seconds": ("4", 4.0),
    "response_format": ("URL", "url"),
    "output_format": ("jpg", "jpeg"),
    "output_compression": ("80", 80),
    "quality": ("high", "high"),
}
"""For each attribute of a request: a value as a client sends it, and as it is read."""

TOGETHER = {
    "prompt",
    "negative_prompt",
    "size",
    "width",
    "height",
    "background",
    "stream",
    "stream_format",
    "partial_images",
    "stream_options",
}
"""Fields that are read together with others."""


def test_every_field_has_a_case() -> None:
    assert {field.attribute or field.name for field in FIELDS} == VALUES.keys() | TOGETHER


@pytest.mark.parametrize(
    ("field", "name"),
    [(field, name) for field in FIELDS if field.name not in TOGETHER for name in field.names],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_field_is_read_under_each_of_its_names(field: Field, name: str) -> None:
    attribute = field.attribute or field.name
    sent, read = VALUES[attribute]
    picture = {} if attribute == "images" else {"image": Upload(PNG)}
    assert getattr(parse(EDITS, **picture, **{name: sent}), attribute) == read


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
        ({"width": 640}, (640, None)),
        ({"height": 480}, (None, 480)),
        ({"size": 512}, (512, 512)),
    ],
)
def test_the_size_is_found_in_each_of_its_places(body: dict[str, Any], size: tuple[int | None, int | None]) -> None:
    request = parse(**body)
    assert (request.width, request.height) == size


@pytest.mark.parametrize("quality", ["low", "medium", "high", "xhigh", "max", "auto", "standard"])
def test_openai_s_qualities_are_echoed(quality: str) -> None:
    assert parse(quality=quality).quality == (None if quality in {"auto", "standard"} else quality)


@pytest.mark.parametrize(
    ("seed", "found"),
    [
        (None, None), ("null", None), (-1, -1), (-42, -1), (0, 0), (42, 42), ("42", 42), (2**32 - 1, 2**32 - 1),
        (2**32 + 5, 5), (2**63, 0),
    ],
    ids=repr,
)  # fmt: skip
def test_a_negative_seed_is_random_even_where_the_model_has_one(seed: Any, found: int | None) -> None:
    assert parse(seed=seed).seed == found


def test_unknown_keys_are_ignored_and_named() -> None:
    assert parse(zebra=1, apple={"b": []}, **dict[str, Any]({"\ud83d": 1})).ignored == ("apple", "zebra")


@pytest.mark.parametrize(("value", "format_"), [(None, "png"), ("PNG", "png"), ("jpg", "jpeg"), ("webp", "webp")])
def test_the_output_format(value: str | None, format_: str) -> None:
    assert parse(output_format=value).output_format == format_


@pytest.mark.parametrize("empty", [None, "", [], "null"])
@pytest.mark.parametrize("name", ["image", "images", "file", "files", "ref_images", "mask", "control_image"])
def test_an_input_image_that_is_not_there_is_no_matter(name: str, empty: Any) -> None:
    assert parse(**{name: empty}) == smallest()


@pytest.mark.parametrize(
    ("body", "param", "code", "message"),
    [
        (None, None, "invalid_body", "must be a JSON object or a form"),
        ([PROMPT], None, "invalid_body", "must be a JSON object or a form"),
        (PROMPT, None, "invalid_body", "must be a JSON object or a form"),
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
        ({"prompt": PROMPT, "width": 0}, "width", "invalid_value", "width: must be from 16 to 16000, not 0"),
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
        ({"prompt": PROMPT, "response_format": "bytes"}, "response_format", "invalid_value", "'bytes' is not served"),
        ({"prompt": PROMPT, "background": "transparent"}, "background", "invalid_value", "pictures are opaque"),
        ({"prompt": PROMPT, "sampler": "zigzag"}, "sampler", "invalid_value", "'zigzag'"),
        ({"prompt": PROMPT, "schedule": "zigzag"}, "schedule", "invalid_value", "'zigzag'"),
        ({"prompt": PROMPT, "mask": "iVBORw0KGgo="}, "image", "missing_required_parameter", "required with a mask"),
        ({"prompt": PROMPT, "markup": "iVBORw0KGgo="}, "markup", "unsupported", "send the drawn picture itself"),
        ({"prompt": PROMPT, "control_canny": "true"}, "control_canny", "unsupported", "picture of the edges"),
        ({"prompt": PROMPT, "lora": "[{"}, "lora", "invalid_value", "must be a list of at most 64 entries"),
        ({"prompt": PROMPT, "lora": [{"scale": 1}]}, "lora", "invalid_value", "must be a list of at most 64 entries"),
        (
            {"prompt": PROMPT, "lora": [{"path": "a", "is_high_noise": True}]},
            "lora",
            "unsupported",
            "is_high_noise: an adapter is for all steps here",
        ),
        ({"prompt": PROMPT, "lora": [{"id": 0, "scale": "x"}]}, "lora", "invalid_value", "scale: must be a number"),
        ({"prompt": PROMPT, "output_format": "gif"}, "output_format", "invalid_value", "output_format: 'gif' is not"),
        ({"prompt": PROMPT, "stream": "soon"}, "stream", "invalid_type", "stream: must be true or false"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(body: Any, param: str | None, code: str, message: str) -> None:
    error = refusal(body)
    assert (error.param, error.code) == (param, code)
    assert message in error.message


@pytest.mark.parametrize(
    ("body", "read"),
    [
        ({"scheduler": "karras"}, (None, "karras")),
        ({"scheduler": "euler_a"}, ("euler_a", None)),
        ({"scheduler": "k_dpmpp_2m"}, ("dpmpp_2m", "karras")),
        ({"sampler": "euler", "scheduler": "karras"}, ("euler", "karras")),
        ({"sampler": "euler", "scheduler": "Euler"}, ("euler", None)),
        ({"scheduler": "lcm"}, ("lcm", None)),
        ({"sampler": "euler", "scheduler": "lcm"}, ("euler", "lcm")),
        ({"sampler_name": "DPM++ 2M Karras", "scheduler": "Karras"}, ("dpmpp_2m", "karras")),
        ({"sampler": "dpm2", "sample_method": "dpm_2"}, ("dpm_2", None)),
        ({"schedule": "default"}, (None, None)),
    ],
)
def test_a_scheduler_is_a_sampler_or_a_schedule(body: dict[str, Any], read: tuple[str | None, str | None]) -> None:
    request = parse(**body)
    assert (request.sampler, request.schedule) == read


@pytest.mark.parametrize(
    "body",
    [
        {"sampler": "euler", "sample_method": "heun"},
        {"sampler": "euler", "scheduler": "heun"},
        {"schedule": "karras", "schedule_method": "exponential"},
        {"sampler": "k_euler", "schedule": "exponential"},
        {"cfg_scale": 7, "guidance_scale": 8},
        {"image": Upload(PNG), "file": Upload(PNG + b"other")},
        {"strength": 0.5, "denoising_strength": "0.6"},
    ],
    ids=list,
)
def test_fields_that_contradict_each_other_are_named(body: dict[str, Any]) -> None:
    error = refusal({"prompt": PROMPT, **body})
    assert error.code == "conflicting_fields"
    assert all(name in error.message for name in body)


@pytest.mark.parametrize(
    "path", [path for path, operation in IMAGE_PATHS.items() if operation not in {"generate", "video"}]
)
def test_a_path_that_changes_a_picture_needs_one(path: str) -> None:
    error = refusal({"prompt": PROMPT}, path=path)
    assert (error.param, error.code) == ("image", "missing_required_parameter")


@pytest.mark.parametrize("path", IMAGE_PATHS)
def test_a_picture_may_come_without_a_prompt(path: str) -> None:
    assert parse_image_request({"image": Upload(PNG)}, path=path).prompts == ("",)


def test_all_pictures_of_a_request() -> None:
    request = parse(image=[Upload(PNG), Upload(PNG)], ref_images=Upload(PNG), mask=Upload(PNG), control=Upload(PNG))
    assert [picture.field for picture in request.inputs] == ["image", "image", "ref_images", "mask", "control"]
