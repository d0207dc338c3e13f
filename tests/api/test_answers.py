"""How pictures come back."""

from dataclasses import replace
from typing import Any

import pytest

from heliograph_api.images.answers import images_body, response_format, usage
from heliograph_api.images.request import ImageRequest, ResponseFormat
from heliograph_api.images.stream_options import Stream
from heliograph_api.spec import parse_spec

BARE = ImageRequest("generate", ("a cat",), (None,))


@pytest.mark.parametrize(
    ("fields", "serving", "setting", "chosen"),
    [
        ({}, {}, None, "both"),
        ({}, {}, "url", "url"),
        ({}, {"compat": "localai"}, "b64_json", "url"),
        ({}, {"compat": "sd-api-server"}, None, "url"),
        ({}, {"compat": "gpustack"}, None, "b64_json"),
        ({}, {"compat": "gpustack", "responseFormat": "both"}, None, "both"),
        ({"model": "gpt-image-1"}, {"responseFormat": "url"}, "url", "b64_json"),
        ({"model": "chatgpt-image-latest"}, {}, None, "b64_json"),
        ({"model": "dall-e-3"}, {"responseFormat": "b64_json"}, None, "url"),
        ({"model": "my-dall-e"}, {}, None, "both"),
        ({"model": "dall-e-3", "response_format": "b64_json"}, {}, None, "b64_json"),
        ({"model": "gpt-image-1", "response_format": "url"}, {}, None, "url"),
        ({"stream": Stream("openai")}, {"compat": "localai"}, "url", "b64_json"),
        ({"stream": Stream("image.chunk"), "response_format": "url"}, {}, None, "url"),
    ],
)
def test_the_response_format(
    fields: dict[str, Any], serving: dict[str, Any], setting: ResponseFormat | None, chosen: str
) -> None:
    spec = parse_spec({"parameters": {"model": "m"}, "serving": serving})
    assert response_format(replace(BARE, **fields), spec, setting=setting) == chosen


def test_the_usage_has_both_shapes() -> None:
    told = usage(images=2, steps=20, to_process=0.0125, per_generation=0.25)
    assert {name: told[name] for name in ("time_to_process_ms", "time_per_generation_ms", "generation_per_second")} == {
        "time_to_process_ms": 12.5,
        "time_per_generation_ms": 250.0,
        "generation_per_second": 4.0,
    }
    assert [told[name] for name in ("input_tokens", "output_tokens", "total_tokens")] == [0, 0, 0]
    assert told["input_tokens_details"] == {"text_tokens": 0, "image_tokens": 0}
    assert usage(images=1, steps=1, to_process=0, per_generation=0)["generation_per_second"] == 0


def test_a_clip_has_an_id_of_its_own() -> None:
    about: dict[str, Any] = {"created": 1, "file_format": "mp4", "size": "64x64", "usage": {}}
    first, second = (images_body([], request=replace(BARE, operation="video"), **about)["id"] for _ in range(2))
    assert first != second
    assert "id" not in images_body([], request=BARE, **about)


def test_the_quality_is_echoed_if_there_is_one() -> None:
    about: dict[str, Any] = {"created": 1, "file_format": "png", "size": "64x64", "usage": {}}
    assert "quality" not in images_body([], request=BARE, **about)
    assert images_body([], request=replace(BARE, quality="low"), **about)["quality"] == "low"
