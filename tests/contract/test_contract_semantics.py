"""What pictures show: the tiny model, judged by the colours and shapes that it draws.

Drawn at the model's own size, where it is known to draw what the prompt says; 8 steps and a guidance of 4 suffice.
Over diffusers alone: tests/runtime/test_sdcpp_pictures.py judges the pictures of stable-diffusion.cpp.
"""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from contract.models import only_diffusers
from contract.stack import EDITS, Model
from pictures import Content, classify, draw
from runtime.picture_files import b64
from runtime.runtimes import difference

pytestmark = only_diffusers

DRAWN: dict[str, Any] = {"steps": 8, "cfg_scale": 4}
CIRCLE = draw("red", "circle", "white")
BLUE_CIRCLE = "a blue circle on a white background"


def pixels(image: Image.Image) -> NDArray[np.int64]:
    return np.asarray(image.convert("RGB"), dtype=int)


def change(first: Image.Image, second: Image.Image) -> float:
    """Return the mean difference of two pictures."""
    return float(np.abs(pixels(first) - pixels(second)).mean())


def silhouette(image: Image.Image) -> NDArray[np.bool_]:
    """Return where something is drawn on a white background."""
    return np.asarray(pixels(image).min(axis=2) < 160)


def overlap(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float((first & second).sum() / (first | second).sum())


def test_each_prompt_of_a_list_is_what_its_picture_shows(plain: Model) -> None:
    shown = [Content(colour, "circle", "white") for colour in ("red", "blue", "green", "purple")]

    drawn = plain.draw(prompt=[f"{it.colour} {it.shape} on a {it.background} background" for it in shown], **DRAWN)

    assert sum(map(Content.__eq__, map(classify, drawn), shown)) >= 3


@pytest.mark.parametrize(
    ("prompt", "colour"), [("a circle on a white background", "blue"), ("a star on a black background", "white")]
)
def test_a_negative_prompt_takes_a_colour_away(plain: Model, prompt: str, colour: str) -> None:
    """At half the model's size, where colours are right."""
    asked: dict[str, Any] = {**DRAWN, "prompt": prompt, "n": 8, "seed": 1, "size": "64x64"}
    plainly, without = (
        [classify(it).colour for it in plain.draw(**asked, negative_prompt=negative)] for negative in (None, colour)
    )

    assert plainly.count(colour) >= 2
    assert without.count(colour) == 0


def test_a_change_grows_with_the_strength(plain: Model) -> None:
    """Until nothing of the picture is left."""
    asked: dict[str, Any] = {
        "prompt": BLUE_CIRCLE, "image": b64(CIRCLE), "cfg_scale": 4, "steps": 12, "n": 4, "seed": 1,
    }  # fmt: skip
    changes = [
        float(np.mean([change(CIRCLE, it) for it in plain.draw(EDITS, **asked, strength=strength)]))
        for strength in (0.2, 0.35, 0.5, 0.65)
    ]

    assert changes == sorted(changes)
    assert changes[-1] > 4 * changes[0]


def test_a_weak_change_keeps_what_there_is_and_the_usual_one_follows_the_prompt(plain: Model) -> None:
    asked: dict[str, Any] = {"prompt": BLUE_CIRCLE, "image": b64(CIRCLE), "cfg_scale": 4, "steps": 20, "seed": 3}

    assert classify(plain.draw_one(EDITS, **asked, strength=0.2)) == Content("red", "circle", "white")
    assert classify(plain.draw_one(EDITS, **asked)) == Content("blue", "circle", "white")


@pytest.mark.parametrize("path", [EDITS, "/v1/images/inpainting"])
def test_outside_the_mask_nothing_changes_and_inside_the_prompt_is_drawn(plain: Model, path: str) -> None:
    """To the last bit of a picture that no autoencoder gives back."""
    box = (16, 16, 112, 112)
    noise = Image.merge("RGB", [Image.effect_noise((128, 128), 60) for _ in range(3)])
    noise.paste("white", box)
    mask = Image.new("L", noise.size)
    mask.paste(255, box)
    inside = np.asarray(mask) == 255

    edited = plain.draw_one(path, prompt=BLUE_CIRCLE, image=b64(noise), mask=b64(mask), seed=1, **DRAWN)

    assert (pixels(edited)[~inside] == pixels(noise)[~inside]).all()
    assert (pixels(edited)[inside] != pixels(noise)[inside]).mean() > 0.2
    assert classify(edited.crop((19, 19, 109, 109))).colour == "blue"


def test_a_lora_turns_shapes_green(adapted: Model) -> None:
    """Its weight comes from the spec, 0, unless the request or its prompt gives one; the backgrounds stay."""
    colours = ("red", "blue", "yellow", "purple")
    prompts = [f"a {colour} circle on a white background" for colour in colours]
    asked: dict[str, Any] = {**DRAWN, "seed": 1}

    without = [classify(it) for it in adapted.draw(**asked, prompt=prompts)]
    weighed = [classify(it) for it in adapted.draw(**asked, prompt=prompts, loras=[{"id": "lora_green", "scale": 1}])]
    tagged = adapted.draw_one(**asked, prompt=f"{prompts[0]} <lora:lora_green:1>")

    assert [it.colour for it in without].count("green") == 0
    assert [it.colour for it in weighed].count("green") >= 3
    assert [it.background for it in weighed] == ["white"] * len(colours)
    assert classify(tagged) == weighed[0]


def test_a_request_without_weights_is_not_green_after_one_with(adapted: Model) -> None:
    asked: dict[str, Any] = {**DRAWN, "prompt": "a red circle", "seed": 1, "size": "64x64"}
    before = adapted.draw_one(**asked)
    green = adapted.draw_one(**asked, loras=[{"id": 0, "scale": 1}])
    after = adapted.draw_one(**asked)

    assert (classify(before).colour, classify(green).colour) == ("red", "green")
    assert difference(before, after) == 0


def test_a_controlnet_follows_the_outline(adapted: Model) -> None:
    """With prompts that name no shape."""
    prompts = [f"a {colour} shape on a white background" for colour in ("red", "black")]
    asked: dict[str, Any] = {**DRAWN, "prompt": prompts, "seed": 1}
    overlaps: dict[float, list[float]] = {0: [], 1: []}
    for shape in ("square", "triangle"):
        filled = silhouette(draw("black", shape, "white"))
        for strength, found in overlaps.items():
            drawn = adapted.draw(**asked, control_image=b64(outline(filled)), control_strength=strength)
            found += [overlap(silhouette(it), filled) for it in drawn]

    assert np.mean(overlaps[1]) > 0.7
    assert np.mean(overlaps[1]) > np.mean(overlaps[0]) + 0.15


def outline(filled: NDArray[np.bool_]) -> Image.Image:
    """Return the border of an area, white on black."""
    inner = filled.copy()
    for _ in range(2):
        inner[1:-1, 1:-1] &= inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
    return Image.fromarray((filled & ~inner).astype(np.uint8) * 255)


def test_weights_of_words_change_the_picture(plain: Model) -> None:
    """`(x)` is 1.1, `[x]` the inverse; a weight of 1 is none, and a colour without weight is gone."""
    asked: dict[str, Any] = {**DRAWN, "seed": 1, "size": "64x64"}

    def drawn(red: str) -> Image.Image:
        return plain.draw_one(**asked, prompt=f"a {red} circle on a white background")

    plainly = drawn("red")
    assert difference(drawn("(red:1.0)"), plainly) == 0
    assert difference(drawn("(red)"), drawn("(red:1.1)")) == 0
    changes = [change(plainly, drawn(f"(red:{weight})")) for weight in (1.1, 1.3, 1.6)]
    assert 0 < changes[0] < changes[1] < changes[2]
    assert difference(drawn("[red]"), plainly) > 0
