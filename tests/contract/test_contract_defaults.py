"""What applies where a request is silent, and what a model's spec forbids.

Over both engines: whose values come first. Over diffusers alone: what the gateway says itself, and the size of
sd-api-server, which is that of the ImageModel for any engine and takes the miniature of FLUX.1 long.
"""

from typing import Any

import pytest
from PIL import Image

from contract.differences import FAMILY_GUIDANCE, OWN_SAMPLER
from contract.models import EngineName, only_diffusers
from contract.spellings import form_parts
from contract.stack import EDITS, GENERATIONS, SMALL, Model, Stack, decoded, refusal, succeeded
from runtime.picture_files import b64

CIRCLE: dict[str, Any] = {"prompt": "a red circle"}
SEEDED: dict[str, Any] = {**CIRCLE, "seed": 3, "size": "32x32"}
USED: dict[str, dict[str, Any]] = {
    "negative_prompt": {"negative_prompt": "blue"},
    "steps": {"sampling_steps": 2},
    "image": {"image": b64(Image.new("RGB", (32, 32)))},
    "clip_skip": {"clip_skip": 1},
}
"""Fields, by the one that an error names, that a whitelist may leave out."""


def test_the_request_comes_before_the_imagemodel(engine: EngineName, plain: Model) -> None:
    silent = plain.file(**SEEDED)

    assert silent == plain.file(**SEEDED, steps=plain.spec["step"], cfg_scale=plain.spec["cfg_scale"])
    assert silent == plain.file(**SEEDED, sampler=OWN_SAMPLER.of(engine))
    for asked in ({"steps": 4}, {"cfg_scale": 7}, {"sampler": "euler_a"}, {"seed": 4}):
        assert plain.file(**{**SEEDED, **asked}) != silent


def test_the_imagemodel_comes_before_the_family(engine: EngineName, adapted: Model) -> None:
    """A model without values of its own has those of its family."""
    answer = adapted.answer(**SEEDED)

    assert answer["usage"]["steps"] == 20
    assert answer["data"][0]["b64_json"] == adapted.file(**SEEDED, steps=20, cfg_scale=FAMILY_GUIDANCE.of(engine))
    assert answer["data"][0]["b64_json"] != adapted.file(**SEEDED, steps=20, cfg_scale=4)


def test_the_defaults_of_sd_api_server(engine: EngineName, compatible: Model) -> None:
    asked: dict[str, Any] = {"prompt": "a red circle", "size": "32x32"}
    answer = compatible.answer(**asked)

    written: dict[str, Any] = {"seed": 42, "steps": 20, "cfg_scale": 7.0, "sampler": "euler_a"}
    assert (answer["data"][0]["seed"], answer["usage"]["steps"]) == (42, 20)
    assert answer["data"][0]["b64_json"] == compatible.file(**asked, **written)
    for other in ({"cfg_scale": 9}, {"sampler": OWN_SAMPLER.of(engine)}):
        assert compatible.file(**asked, **{**written, **other}) != answer["data"][0]["b64_json"]
    (item,) = succeeded(compatible.post(**asked, steps=1)).json()["data"]
    assert item.keys() == {"url", "seed", "prompt"}


@only_diffusers
def test_the_size_of_sd_api_server(compatible: Model) -> None:
    """Of edits too, whatever the picture's aspect."""
    drawn = compatible.answer(**CIRCLE, steps=1)
    changed = compatible.answer(EDITS, **CIRCLE, steps=1, image=b64(Image.new("RGB", (200, 100))))

    assert (drawn["size"], changed["size"]) == ("512x512", "512x512")
    assert compatible.answer(**CIRCLE, steps=1, width=256)["size"] == "256x512"
    assert decoded(changed["data"][0]).size == (512, 512)


def test_a_negative_seed_is_random_where_42_is_the_default(compatible: Model) -> None:
    (first,), (other,) = (compatible.answer(**CIRCLE, **SMALL, seed=-1)["data"] for _ in range(2))

    assert 42 not in (first["seed"], other["seed"])
    assert first["seed"] != other["seed"]


@pytest.fixture(scope="module")
def with_each(plain: Model) -> dict[str, str]:
    """What is drawn with each of these fields; every one makes a difference."""
    drawn = {param: plain.file(**SEEDED, **fields) for param, fields in USED.items()}
    assert len({plain.file(**SEEDED), *drawn.values()}) == 1 + len(USED)
    return drawn


@only_diffusers
@pytest.mark.parametrize(
    ("allowed", "refused"),
    [
        ("none", {"negative_prompt", "steps", "image", "clip_skip"}),
        ("negative_prompt", {"steps", "image", "clip_skip"}),
        ("image , clip_skip", {"negative_prompt", "steps"}),
        ("negative_prompt,num_inference_steps,clip_skip,image", set()),
        ("", set()),
    ],
)
def test_enable_parameters_is_a_whitelist(
    stack: Stack, plain: Model, with_each: dict[str, str], allowed: str, refused: set[str]
) -> None:
    diffusers = plain.spec["diffusers"] | {"enable_parameters": allowed}
    model = stack.add_like(plain, "frugal", serving={}, diffusers=diffusers)

    for param, fields in USED.items():
        if param in refused:
            error = refusal(model.post(**SEEDED, **fields))
            assert (error["param"], error["code"]) == (param, "unsupported")
        else:
            assert model.file(**SEEDED, **fields) == with_each[param]


@only_diffusers
def test_a_bar_counts_as_a_negative_prompt(stack: Stack, plain: Model) -> None:
    diffusers = plain.spec["diffusers"] | {"enable_parameters": "none"}
    model = stack.add_like(plain, "piped", serving={}, diffusers=diffusers)

    assert refusal(model.post(**{**SEEDED, "prompt": "a red circle | blue"}))["param"] == "negative_prompt"


@only_diffusers
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 3}, "n"),
        ({"prompt": ["a"] * 3}, "prompt"),
        ({"n": 2, "prompt": ["a", "b"]}, "n"),
        ({"size": 128}, "size"),
    ],
    ids=str,
)
def test_limits(stack: Stack, plain: Model, fields: dict[str, Any], param: str) -> None:
    model = stack.add_like(plain, "limited", serving={"limits": {"maxImages": 2, "maxPixels": 4096}})

    assert refusal(model.post(**{**CIRCLE, "size": "64x64", **fields}))["param"] == param
    assert len(model.answer(**{**CIRCLE, "size": "64x64", "steps": 1}, n=2)["data"]) == 2


@only_diffusers
@pytest.mark.parametrize("model", [None, "", "null"])
@pytest.mark.parametrize("path", ["/v1-openai/image/generate", GENERATIONS])
def test_the_default_model_answers_who_names_none(plain: Model, path: str, model: str | None) -> None:
    asked = {**SEEDED, "model": model}

    response = plain.client.post(path, json=asked)
    form = plain.client.post(path, files=form_parts({key: value for key, value in asked.items() if value is not None}))

    for answer in (response, form):
        assert succeeded(answer).headers["x-heliograph-model"] == "plain"


@only_diffusers
def test_an_unknown_model_is_told_of_those_there_are(plain: Model) -> None:
    error = refusal(plain.post(**SEEDED, model="sdxl"), 404)

    assert (error["code"], error["param"], error["type"]) == ("model_not_found", "model", "invalid_request_error")
    assert "plain" in error["message"]
