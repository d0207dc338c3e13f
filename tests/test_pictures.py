from itertools import cycle

import pytest
from PIL import Image

from pictures import BACKGROUNDS, SHAPE_COLOURS, SHAPES, Content, classify, draw


@pytest.mark.parametrize("size", [64, 128])
def test_says_what_true_pictures_show(size: int) -> None:
    pairs = [(colour, shape) for colour in SHAPE_COLOURS for shape in SHAPES]
    shown = [
        (colour, shape, background)
        for (colour, shape), background in zip(pairs, cycle(BACKGROUNDS), strict=False)
        if background != colour
    ]

    assert [classify(draw(*it, size=size)) for it in shown] == [Content(*it) for it in shown]


def test_finds_nothing_on_an_empty_picture() -> None:
    assert classify(Image.new("RGB", (128, 128), BACKGROUNDS["pink"])) == Content(None, None, "pink")


def test_is_not_misled_by_specks() -> None:
    picture = draw("blue", "star", "white")
    picture.paste(SHAPE_COLOURS["red"], (8, 8, 20, 20))

    assert classify(picture) == Content("blue", "star", "white")
