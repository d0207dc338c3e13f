"""Sizes over HTTP: asked for, drawn, and told."""

import re
from typing import Any

import pytest
from PIL import Image

from contract.differences import ROUNDED
from contract.models import EngineName
from contract.stack import EDITS, GENERATIONS, Model, decoded, refusal
from runtime.picture_files import b64

WIDE = b64(Image.new("RGB", (600, 300), "red"))
NATIVE = (128, 128)


@pytest.mark.parametrize(
    ("asked", "drawn"),
    [
        ({"size": "64x96"}, (64, 96)),
        ({"size": "64X96"}, (64, 96)),
        ({"size": "64*96"}, (64, 96)),
        ({"size": " 64 x 96 "}, (64, 96)),
        ({"size": "100x61"}, (104, 64)),
        ({"size": 64}, (64, 64)),
        ({"size": "64"}, (64, 64)),
        ({"width": 72, "height": 40}, (72, 40)),
        ({"width": "76", "height": "43"}, (80, 40)),
        ({"width": 48}, (48, 48)),
        ({"height": 48}, (48, 48)),
        ({"size": "64x96", "width": 48, "height": 48}, (64, 96)),
        ({"size": "auto", "width": 48, "height": 40}, (48, 40)),
        ({"size": "", "width": 48, "height": 40}, (48, 40)),
        ({}, NATIVE),
        ({"size": "auto"}, NATIVE),
        ({"size": None}, NATIVE),
    ],
    ids=str,
)
def test_a_size_is_rounded_and_told(
    engine: EngineName, adapted: Model, asked: dict[str, Any], drawn: tuple[int, int]
) -> None:
    width, height = ROUNDED.of(engine).get(drawn, drawn)

    answer = adapted.answer(prompt="a red circle", steps=1, **asked)

    assert decoded(answer["data"][0]).size == (width, height)
    assert answer["size"] == f"{width}x{height}"


@pytest.mark.parametrize("path", [GENERATIONS, EDITS])
@pytest.mark.parametrize(
    ("asked", "drawn"), [({}, (184, 88)), ({"size": "auto"}, (184, 88)), ({"size": "64x96"}, (64, 96))]
)
def test_a_changed_picture_keeps_its_aspect(
    engine: EngineName, adapted: Model, path: str, asked: dict[str, Any], drawn: tuple[int, int]
) -> None:
    """At as many pixels as the model's own size has, unless the request names a size."""
    width, height = ROUNDED.of(engine).get(drawn, drawn)

    answer = adapted.answer(path, prompt="a red circle", image=WIDE, steps=2, **asked)

    assert decoded(answer["data"][0]).size == (width, height)
    assert answer["size"] == f"{width}x{height}"


@pytest.mark.parametrize("asked", [{"size": "4096x4096"}, {"width": 4096}, {"size": "4097"}], ids=str)
def test_a_size_that_is_too_large_is_refused_with_one_that_is_not(plain: Model, asked: dict[str, Any]) -> None:
    """Some clients read sizes off the message and ask again."""
    error = refusal(plain.post(prompt="a red circle", **asked))

    assert error["param"] == "size"
    assert re.findall(r"\d+x\d+", error["message"])[-1] == "2048x2048"


@pytest.mark.parametrize("size", ["8x8", "100000x16", "large", "64x", "-64x64", "64x64x64", [64, 64], 0.5, True])
def test_a_size_that_is_none_is_refused(plain: Model, size: object) -> None:
    assert refusal(plain.post(prompt="a red circle", size=size))["param"] == "size"


def test_an_enlargement_is_no_longer_than_a_file_can_be(plain: Model) -> None:
    """WebP ends at 16,383 pixels a side."""
    asked = {"image": b64(Image.new("RGB", (5000, 8))), "output_format": "webp"}

    assert plain.answer("/v1/images/upscale", **asked, scale=3)["size"] == "15000x24"
    assert refusal(plain.post("/v1/images/upscale", **asked, scale=4))["param"] == "image"
