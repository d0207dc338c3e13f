"""Input pictures of every kind, and files that only look like pictures."""

import random
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from heliograph_api.errors import APIError
from heliograph_api.images.inputs import InputImage
from heliograph_runtime.images.decoding import Decoded, decode_picture
from runtime.picture_files import (
    QUARTERS,
    as_file,
    blank_png,
    claims,
    many_scans,
    noise,
    png,
    quarters,
    with_orientation,
)

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
PIXELS = 2**26
DAMAGED = "file: Invalid image: it is damaged or cut off; send it whole, as PNG, JPEG, WebP or GIF."


def decode(file: bytes, *, max_pixels: int = PIXELS, reduce_to: int | None = None) -> Decoded:
    return decode_picture(InputImage("file", data=file), max_pixels=max_pixels, reduce_to=reduce_to)


def refusal(file: bytes, *, max_pixels: int = PIXELS) -> str:
    with pytest.raises(APIError) as caught:
        decode(file, max_pixels=max_pixels)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, "file", "invalid_image")
    assert caught.value.__cause__ is None
    return caught.value.message


def check_quarters(image: Image.Image, *, tolerance: int = 0) -> None:
    assert image.mode == "RGB"
    assert image.size == (64, 64)
    for place, colour in QUARTERS.items():
        found = image.getpixel(place)
        assert isinstance(found, tuple)
        assert max(abs(a - b) for a, b in zip(found, colour, strict=True)) <= tolerance, (place, found)


@pytest.mark.parametrize(
    ("mode", "file_format", "tolerance", "has_alpha"),
    [
        ("RGB", "PNG", 0, False),
        ("RGBA", "PNG", 0, True),
        ("P", "PNG", 0, False),
        ("RGB", "JPEG", 4, False),
        ("CMYK", "JPEG", 4, False),
        ("RGB", "WEBP", 8, False),
        ("P", "GIF", 0, False),
    ],
)
def test_pictures_of_every_kind(mode: str, file_format: str, tolerance: int, has_alpha: bool) -> None:
    decoded = decode(as_file(quarters(mode), file_format))

    check_quarters(decoded.rgb, tolerance=tolerance)
    assert (decoded.alpha is not None) == has_alpha


@pytest.mark.parametrize("mode", ["L", "1", "LA", "I;16"])
@pytest.mark.parametrize("value", [0, 255])
def test_grey_pictures(mode: str, value: int) -> None:
    image = Image.new(mode, (8, 8), (value, 255) if mode == "LA" else value * 257 if mode == "I;16" else value)

    assert decode(as_file(image)).rgb.getpixel((0, 0)) == (value, value, value)


def test_sixteen_bits_are_scaled_and_not_cut() -> None:
    image = Image.new("I;16", (4, 1))
    for x, value in enumerate((0, 0x4000, 0x8000, 0xFFFF)):
        image.putpixel((x, 0), value)

    row = np.asarray(decode(as_file(image)).rgb)[0, :, 0]

    assert row.tolist() == [0, 0x40, 0x80, 0xFF]


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "GIF"])
def test_transparent_parts_are_white_and_known(file_format: str) -> None:
    image = quarters("RGBA")
    image.paste((10, 20, 30, 0), (0, 0, 32, 32))
    settings = {"lossless": True} if file_format == "WEBP" else {}

    decoded = decode(as_file(image, file_format, **settings))

    assert decoded.rgb.getpixel((8, 8)) == (255, 255, 255)
    assert decoded.alpha is not None
    assert (decoded.alpha.getpixel((8, 8)), decoded.alpha.getpixel((56, 56))) == (0, 255)


def test_a_transparent_colour_of_a_palette_or_of_none() -> None:
    palette = quarters("P")
    for image, transparent in ((palette, palette.getpixel((8, 8))), (quarters(), QUARTERS[8, 8])):
        decoded = decode(as_file(image, transparency=transparent))
        assert decoded.rgb.getpixel((8, 8)) == (255, 255, 255)
        assert decoded.rgb.getpixel((56, 56)) == QUARTERS[56, 56]


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (1, lambda image: image),
        (2, lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
        (3, lambda image: image.rotate(180)),
        (4, lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)),
        (5, lambda image: image.transpose(Image.Transpose.TRANSPOSE)),
        (6, lambda image: image.rotate(90)),
        (7, lambda image: image.transpose(Image.Transpose.TRANSVERSE)),
        (8, lambda image: image.rotate(-90)),
        (9, lambda image: image),
    ],
)
def test_cameras_that_were_held_another_way(
    file_format: str, orientation: int, stored: Callable[[Image.Image], Image.Image]
) -> None:
    decoded = decode(with_orientation(stored(quarters()), orientation, file_format))

    check_quarters(decoded.rgb, tolerance=8)


def test_broken_metadata_leaves_the_picture_as_it_is() -> None:
    file = as_file(quarters(), "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")

    check_quarters(decode(file).rgb)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "GIF"])
def test_of_an_animation_the_first_frame_counts(file_format: str) -> None:
    others = [Image.new("RGB", (64, 64), colour) for colour in ("black", "white")]
    settings = {"lossless": True} if file_format == "WEBP" else {}

    decoded = decode(as_file(quarters(), file_format, save_all=True, append_images=others, duration=10, **settings))

    check_quarters(decoded.rgb, tolerance=8)


@pytest.mark.parametrize("file_format", FORMATS)
def test_large_pictures_are_reduced_and_keep_their_aspect(file_format: str) -> None:
    image = quarters().resize((640, 320), Image.Resampling.NEAREST)

    decoded = decode(as_file(image, file_format), reduce_to=64 * 32)

    assert decoded.rgb.size == (64, 32)
    for (x, y), colour in QUARTERS.items():
        found = decoded.rgb.getpixel((x, y // 2))
        assert isinstance(found, tuple)
        assert max(abs(a - b) for a, b in zip(found, colour, strict=True)) < 16
    assert decode(as_file(image), reduce_to=640 * 320).rgb.size == (640, 320)


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("cut", [0.2, 0.5, 0.9, 0.97])
def test_a_file_that_is_cut_off_is_refused(file_format: str, cut: float) -> None:
    file = as_file(noise(), file_format)

    assert refusal(file[: int(len(file) * cut)]) == DAMAGED


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_first_line_is_no_picture(file_format: str) -> None:
    assert refusal(as_file(quarters(), file_format)[:16]) == DAMAGED


@pytest.mark.parametrize("file_format", FORMATS)
def test_damage_is_refused_or_harmless(file_format: str) -> None:
    """Whatever Pillow makes of it, nothing but a picture or the one refusal comes out."""
    file = as_file(quarters(), file_format)
    chance = random.Random(1)
    refusals = set()
    for _ in range(300):
        damaged = bytearray(file)
        for _ in range(chance.randint(1, 8)):
            damaged[chance.randrange(12, len(file))] = chance.randrange(256)
        try:
            decode(bytes(damaged), max_pixels=10**6)
        except APIError as error:
            refusals.add((error.status, error.code))
    assert refusals == {(400, "invalid_image")}


@pytest.mark.parametrize("file_format", FORMATS)
def test_pixels_are_counted_before_they_are_decoded(file_format: str) -> None:
    message = refusal(claims(as_file(quarters(), file_format)))

    assert message == ("file: Invalid image: it has too many pixels; send at most 67108864, such as 8192x8192.")


def test_a_bomb_is_refused_by_its_header() -> None:
    file = blank_png(30_000, 30_000)
    assert len(file) < 10**6

    assert "too many pixels" in refusal(file)
    assert "send at most 4096, such as 64x64" in refusal(blank_png(65, 64), max_pixels=4096)
    assert decode(blank_png(64, 64), max_pixels=4096).rgb.getpixel((0, 0)) == (0, 0, 0)


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    assert "too many scans" in refusal(many_scans(9000, side=512))
    assert decode(many_scans(10, side=64)).rgb.size == (64, 64)


@pytest.mark.parametrize(
    "file",
    [
        b"\xff\xd8" + b"\xff\xfe\x00\x02" * 200_000,
        png(8, 8, b"", between=[(b"prVt", b"")] * 100_000),
        as_file(quarters("P"), "GIF")[:13] + b"\x21\xfe\x01a\x00" * 200_000,
    ],
    ids=["JPEG", "PNG", "GIF"],
)
def test_a_flood_of_metadata_is_refused(file: bytes) -> None:
    assert refusal(file) == DAMAGED


def test_no_url_is_fetched() -> None:
    with pytest.raises(APIError) as caught:
        decode_picture(InputImage("image", url="http://127.0.0.1:1/a.png"), max_pixels=PIXELS)

    assert (caught.value.status, caught.value.param) == (400, "image")
    assert "127.0.0.1" not in caught.value.message
