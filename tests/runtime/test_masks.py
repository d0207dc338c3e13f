import numpy as np
import pytest
from PIL import Image, ImageDraw

from heliograph_api.errors import APIError
from heliograph_api.images.inputs import InputImage
from heliograph_runtime.engines.protocol import Inputs, Picture, Raster
from heliograph_runtime.images.decoding import Decoded
from heliograph_runtime.images.masks import fit_mask, keep_outside, mask_of_file, mask_of_transparency
from runtime.picture_files import quarters

FIELD = InputImage("mask", data=b"")


def half(mode: str, left: object, right: object) -> Image.Image:
    """Return a picture of 8x4 pixels with a left and a right half."""
    image = Image.new(mode, (8, 4), right)  # type: ignore[arg-type]
    image.paste(left, (0, 0, 4, 4))  # type: ignore[arg-type]
    return image


def columns(mask: Image.Image) -> list[int]:
    return [int(value) for value in np.asarray(mask)[0]]


LEFT = [255] * 4 + [0] * 4
GREY = Image.new("RGB", (8, 4), (90, 90, 90))


@pytest.mark.parametrize(
    ("rgb", "alpha"),
    [
        (half("RGB", "white", "black"), None),
        (half("RGB", (200, 200, 200), (90, 90, 90)), None),
        (half("RGB", "white", "black"), Image.new("L", (8, 4), 255)),
        (GREY, half("L", 0, 255)),
        (GREY, half("L", 100, 150)),
        (half("RGB", "red", "green"), half("L", 0, 255)),
        # Where both rules could apply, transparency counts.
        (half("RGB", "black", "white"), half("L", 0, 255)),
        (half("RGB", "yellow", "blue"), None),
    ],
)
def test_the_left_half_is_drawn_anew(rgb: Image.Image, alpha: Image.Image | None) -> None:
    assert columns(mask_of_file(FIELD, Decoded(rgb, alpha))) == LEFT


def test_an_inverted_mask_says_what_to_keep() -> None:
    for decoded in (
        Decoded(half("RGB", "black", "white"), None),
        Decoded(GREY, half("L", 255, 0)),
        Decoded(half("RGB", (90, 90, 90), (200, 200, 200)), None),
    ):
        assert columns(mask_of_file(FIELD, decoded, inverted=True)) == LEFT


NEITHER = "neither transparent nor white anywhere; erase that part, or paint it white."
EVERYWHERE = "transparent or white everywhere, and inverted; paint black what is to be drawn anew."
COLOURED = "a coloured picture without a transparent part"


@pytest.mark.parametrize(
    ("rgb", "alpha", "inverted", "says"),
    [
        (GREY, None, False, NEITHER),
        (GREY, Image.new("L", (8, 4), 255), False, NEITHER),
        (Image.new("RGB", (8, 4), "white"), None, True, EVERYWHERE),
        (GREY, Image.new("L", (8, 4), 0), True, EVERYWHERE),
        (half("RGB", "yellow", "blue"), Image.new("L", (8, 4), 255), False, f"{COLOURED}; erase that part, or "),
        (half("RGB", "yellow", "blue"), Image.new("L", (8, 4), 200), False, f"{COLOURED}; erase that part, or "),
        (half("RGB", "yellow", "blue"), Image.new("L", (8, 4), 255), True, f"{COLOURED}; erase what is to be kept."),
    ],
)
def test_a_mask_with_nothing_to_draw_is_refused_with_what_would_help(
    rgb: Image.Image, alpha: Image.Image | None, inverted: bool, says: str
) -> None:
    with pytest.raises(APIError) as caught:
        mask_of_file(FIELD, Decoded(rgb, alpha), inverted=inverted)

    assert (caught.value.status, caught.value.param) == (400, "mask")
    assert says in caught.value.message


def test_a_picture_without_transparent_parts_stands_for_no_mask() -> None:
    assert mask_of_transparency(None) is None
    assert mask_of_transparency(Image.new("L", (8, 4), 130)) is None


def test_a_mask_gets_the_size_to_draw() -> None:
    mask = half("L", 255, 0)

    assert fit_mask(mask, (8, 4)).pixels == mask.tobytes()
    for width, height in ((32, 16), (4, 2), (16, 64)):
        raster = fit_mask(mask, (width, height))
        assert (raster.width, raster.height, raster.channels) == (width, height, 1)
        assert raster.pixels == (b"\xff" * (width // 2) + bytes(width // 2)) * height


@pytest.mark.parametrize("size", [(64, 64), (32, 16), (48, 20), (8, 1024), (1000, 7)])
@pytest.mark.parametrize("place", [(0, 0), (517, 300), (1023, 1023)])
def test_a_thin_mask_does_not_vanish(place: tuple[int, int], size: tuple[int, int]) -> None:
    dot, line = Image.new("L", (1024, 1024)), Image.new("L", (1024, 1024))
    dot.putpixel(place, 255)
    line.paste(255, (place[0], 0, place[0] + 1, 1024))
    x, y = (int((place[axis] + 0.5) * size[axis] / 1024) for axis in range(2))

    dotted, lined = (np.frombuffer(fit_mask(mask, size).pixels, np.uint8).reshape(size[::-1]) for mask in (dot, line))

    assert dotted[y, x] == 255
    assert set(dotted.flat) <= {0, 255}
    assert (lined[:, x] == 255).all()
    assert np.count_nonzero(lined.any(axis=0)) == 1


def test_outside_the_mask_nothing_changes_and_inside_everything_does() -> None:
    size = (32, 32)
    original = quarters().resize(size)
    drawn = Image.new("RGB", size, (255, 0, 0))
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).ellipse((0, 4, 23, 27), fill=255)
    inputs = Inputs(images=(Raster(*size, 3, original.tobytes()),), mask=Raster(*size, 1, mask.tobytes()))

    kept = keep_outside(Picture(*size, drawn.tobytes()), inputs)

    before, after = (np.frombuffer(it, np.uint8).reshape(32, 32, 3) for it in (original.tobytes(), kept.pixels))
    inside = np.asarray(mask) == 255
    assert (after[~inside] == before[~inside]).all()
    assert (after[inside] != before[inside]).any(axis=1).all()
    assert tuple(after[16, 12]) == (255, 0, 0)
    # The seam: each pixel further in is nearer to what was drawn.
    column = [int(value) for value in 255 - after[4:8, 12, 0]]
    assert column[3] == 0
    assert all(0 < value < 255 for value in column[:2])


def test_a_mask_to_the_edge_of_the_picture_has_no_seam_there() -> None:
    whole = Raster(4, 4, 1, b"\xff" * 16)
    inputs = Inputs(images=(Raster(4, 4, 3, bytes(48)),), mask=whole)

    assert keep_outside(Picture(4, 4, b"\x80" * 48), inputs).pixels == b"\x80" * 48


def test_without_a_mask_the_picture_is_as_drawn() -> None:
    picture = Picture(4, 4, bytes(48))

    assert keep_outside(picture, Inputs()) is picture
