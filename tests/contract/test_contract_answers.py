"""What an answer holds: links or pictures, file formats, usage, and nothing of what was not understood.

Over diffusers alone: links, and fields that the gateway knows nothing of or hands on without effect.
"""

import time
from base64 import b64encode
from typing import Any

import pytest
from PIL import Image

from contract.models import only_diffusers
from contract.spellings import form_parts
from contract.stack import SMALL, Model, Stack, decoded, refusal, succeeded
from heliograph_api.images.fields import REFUSED, WITHOUT_EFFECT
from runtime.picture_files import b64

ASKED: dict[str, Any] = {"prompt": "a red circle", "seed": 3, **SMALL}
TOLD = {"seed", "prompt"}
BOTH, LINK, INLINE = {"url", "b64_json", *TOLD}, {"url", *TOLD}, {"b64_json", *TOLD}
OTHER_NAMES = {
    "linking": {"responseFormat": "url"},
    "inlining": {"responseFormat": "b64_json"},
    "like-gpustack": {"compat": "gpustack"},
    "like-localai": {"compat": "localai"},
    "both-ways": {"compat": "localai", "responseFormat": "both"},
}
"""Further names of the default model, and what the gateway knows of each."""


@pytest.fixture(scope="module", autouse=True)
def _names(stack: Stack, plain: Model) -> None:
    for name, serving in OTHER_NAMES.items():
        stack.add_like(plain, name, serving=serving)


@pytest.fixture(scope="module")
def picture(plain: Model) -> str:
    """What is answered to a request that says nothing more."""
    return plain.file(**ASKED)


@only_diffusers
@pytest.mark.parametrize(
    ("name", "asked", "keys"),
    [
        ("plain", None, BOTH),
        ("plain", "url", LINK),
        ("plain", "b64_json", INLINE),
        ("plain", "both", BOTH),
        ("gpt-image-1", None, INLINE),
        ("gpt-image-1", "url", LINK),
        ("chatgpt-image-latest", None, INLINE),
        ("dall-e-3", None, LINK),
        ("dall-e-3", "b64_json", INLINE),
        ("linking", None, LINK),
        ("linking", "b64_json", INLINE),
        ("inlining", None, INLINE),
        ("like-gpustack", None, INLINE),
        ("like-localai", None, LINK),
        ("both-ways", None, BOTH),
    ],
)
def test_how_pictures_come_back(plain: Model, picture: str, name: str, asked: str | None, keys: set[str]) -> None:
    (item,) = succeeded(plain.post(**ASKED, model=name, response_format=asked)).json()["data"]

    assert item.keys() == keys
    assert (item["seed"], item["prompt"]) == (3, "a red circle")
    assert item.get("b64_json", picture) == picture
    if "url" in item:
        assert b64encode(succeeded(plain.client.get(item["url"])).content).decode() == picture


@pytest.mark.parametrize(
    ("output_format", "kind", "media_type"),
    [
        (None, "PNG", "image/png"),
        ("png", "PNG", "image/png"),
        ("jpeg", "JPEG", "image/jpeg"),
        ("jpg", "JPEG", "image/jpeg"),
        ("webp", "WEBP", "image/webp"),
    ],
)
def test_file_formats(plain: Model, output_format: str | None, kind: str, media_type: str) -> None:
    """The link says the type as its end and as its header do."""
    answer = succeeded(plain.post(**ASKED, output_format=output_format)).json()
    (item,) = answer["data"]
    link = plain.client.get(item["url"])

    assert decoded(item).format == kind
    assert answer["output_format"] == kind.lower()
    assert link.headers["content-type"] == media_type
    assert link.url.path.endswith(f".{kind.lower()}")
    assert b64encode(link.content).decode() == item["b64_json"]


@pytest.mark.parametrize("output_format", ["jpeg", "webp"])
def test_compression_is_the_quality(plain: Model, output_format: str) -> None:
    asked = {**ASKED, "size": "128x128", "output_format": output_format}
    low, usual, high = (plain.file(**asked, output_compression=quality) for quality in (5, None, 100))

    assert len(low) < len(usual) < len(high)
    assert {decoded({"b64_json": file}).size for file in (low, usual, high)} == {(128, 128)}


def test_png_loses_nothing_by_compression(plain: Model, picture: str) -> None:
    assert plain.file(**ASKED, output_compression=0) == picture


@pytest.mark.parametrize("background", ["opaque", "auto", None])
def test_pictures_are_opaque(plain: Model, background: str | None) -> None:
    answer = plain.answer(**ASKED, background=background)

    assert answer["background"] == "opaque"
    assert decoded(answer["data"][0]).mode == "RGB"
    assert refusal(plain.post(**ASKED, background="transparent"))["param"] == "background"


def test_usage_has_both_shapes(plain: Model) -> None:
    """OpenAI's counts, which strict clients ask for to the last key, and GPUStack's timings."""
    before = int(time.time())
    answer = plain.answer(**{**ASKED, "steps": 3}, n=2)
    usage = answer["usage"]

    assert before <= answer["created"] <= time.time()
    assert [usage[name] for name in ("input_tokens", "output_tokens", "total_tokens")] == [0, 0, 0]
    for details in ("input_tokens_details", "output_tokens_details"):
        assert usage[details] == {"text_tokens": 0, "image_tokens": 0}
    assert (usage["images"], usage["steps"]) == (2, 3)
    assert usage["time_to_process_ms"] >= 0
    assert usage["time_per_generation_ms"] > 0
    assert usage["generation_per_second"] > 0


@pytest.mark.parametrize(
    ("quality", "echo"),
    [("low", "low"), ("HIGH", "high"), ("standard", None), ("hd", None), ("auto", None), ("any", None), (None, None)],
)
def test_quality_is_echoed_where_openai_knows_it(
    plain: Model, picture: str, quality: str | None, echo: str | None
) -> None:
    answer = plain.answer(**ASKED, quality=quality)

    assert answer.get("quality") == echo
    assert answer["data"][0]["b64_json"] == picture


@only_diffusers
@pytest.mark.parametrize("value", ["vivid", 7, {"a": [1]}, None], ids=str)
def test_fields_without_effect_have_none(plain: Model, picture: str, value: object) -> None:
    written: dict[str, Any] = dict.fromkeys(WITHOUT_EFFECT, value)

    assert plain.file(**ASKED, **written) == picture


@only_diffusers
@pytest.mark.parametrize("name", REFUSED)
def test_a_field_that_would_change_the_picture_is_refused(plain: Model, name: str) -> None:
    assert refusal(plain.post(**{**ASKED, name: b64(Image.new("RGB", (8, 8)))}))["param"] == name


@only_diffusers
@pytest.mark.parametrize("nothing", [None, False, "false", "null", ""])
def test_unless_it_says_nothing(plain: Model, picture: str, nothing: object) -> None:
    written: dict[str, Any] = dict.fromkeys(REFUSED, nothing)

    assert plain.file(**ASKED, **written) == picture


@only_diffusers
def test_unknown_fields_are_ignored_and_counted(stack: Stack, plain: Model, picture: str) -> None:
    counted = stack.add_like(plain, "counted", serving={})
    unknown: dict[str, Any] = {"extra_headers": {"a": "b"}, "tiling": True, "x": None, "prompt2": "a"}

    assert counted.file(**ASKED, **unknown) == picture
    succeeded(counted.post_form("/images/generations", form_parts({**ASKED, "tags[]": "x"})))

    stack.gateway.expect_metric(5, "heliograph_gateway_ignored_fields_total", model="counted")


@only_diffusers
def test_headers_say_which_model_and_which_request(plain: Model) -> None:
    answer = plain.client.post("/images/generations", json=ASKED, headers={"x-request-id": "mine"})

    assert succeeded(answer).headers["x-request-id"] == "mine"
    assert answer.headers["x-heliograph-model"] == "plain"
