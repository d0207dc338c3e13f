from dataclasses import replace
from typing import Any

import pytest
from PIL import Image, ImageChops

from heliograph_api.errors import APIError
from heliograph_api.images.inputs import InputImage
from heliograph_runtime.engines.protocol import Inputs, Raster, Sampling
from heliograph_runtime.images.inputs import DecodedInputs, decode_inputs, fit_inputs
from runtime.capable import ask
from runtime.picture_files import as_file, quarters

WHITE = Image.new("RGB", (8, 8), "white")


def given(field: str, image: Image.Image) -> InputImage:
    return InputImage(field, data=as_file(image))


def decode(*, reduce_to: int | None = None, **fields: Any) -> DecodedInputs:
    return decode_inputs(ask("edit", **fields), max_pixels=10**6, reduce_to=reduce_to)


def fit(decoded: DecodedInputs, mode: Any, *, width: int = 32, height: int = 16) -> Inputs:
    inputs = fit_inputs(decoded, Sampling(mode, width, height))
    assert inputs is not None
    return inputs


def size(raster: Raster | None) -> tuple[int, int]:
    assert raster is not None
    assert len(raster.pixels) == raster.width * raster.height * raster.channels
    return raster.width, raster.height


def erased() -> Image.Image:
    """A picture whose upper half is transparent."""
    image = quarters("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 64, 32))
    return image


def test_a_picture_that_is_changed_gets_the_size_to_draw() -> None:
    decoded = decode(images=(given("image", quarters()),))
    inputs = fit(decoded, "image")

    assert decoded.size == (64, 64)
    assert [size(image) for image in inputs.images] == [(32, 16)]
    assert inputs.images[0].pixels[:3] == bytes((200, 30, 30))
    assert (inputs.mask, inputs.control, inputs.last_image) == (None, None, None)


def test_a_picture_of_the_right_size_is_not_touched() -> None:
    decoded = decode(images=(given("image", quarters()),))

    assert fit(decoded, "image", width=64, height=64).images[0].pixels == quarters().tobytes()


@pytest.mark.parametrize("mode", ["reference", "upscale"])
def test_a_picture_that_is_referred_to_keeps_its_size(mode: str) -> None:
    decoded = decode(
        images=(given("image", quarters()),), reference_images=(given("ref_images", WHITE),), reduce_to=1024
    )
    inputs = fit(decoded, mode)

    assert [size(image) for image in inputs.images] == [(32, 32), (8, 8)]
    assert inputs.images[1].pixels == WHITE.tobytes()


def test_a_mask_of_another_size_gets_the_size_to_draw() -> None:
    mask = Image.new("L", (6, 6))
    mask.paste(255, (0, 0, 6, 3))
    decoded = decode(images=(given("image", quarters()),), mask=given("mask", mask))

    inputs = fit(decoded, "inpaint")

    assert inputs.mask
    assert inputs.mask.pixels == b"\xff" * (32 * 8) + bytes(32 * 8)
    assert decoded.erased is None


def test_the_transparent_part_of_the_first_picture_stands_for_a_mask() -> None:
    decoded = decode(images=(given("image", erased()),))

    inputs = fit(decoded, "inpaint")

    assert decoded.erased
    assert inputs.mask
    assert inputs.mask.pixels == b"\xff" * (32 * 8) + bytes(32 * 8)
    assert fit(decoded, "image").mask is None
    assert decode(images=(given("image", quarters()), given("image", erased()))).erased is None


def test_a_mode_that_takes_a_mask_draws_all_of_a_picture_anew_without_one() -> None:
    inputs = fit(decode(images=(given("image", quarters()),)), "inpaint")

    assert inputs.mask
    assert inputs.mask.pixels == b"\xff" * (32 * 16)


def test_an_inverted_mask_says_what_to_keep() -> None:
    mask = Image.new("L", (32, 16))
    mask.paste(255, (0, 0, 32, 8))
    decoded = decode(images=(given("image", quarters()),), mask=given("mask", mask), invert_mask=True)

    inputs = fit(decoded, "inpaint")

    assert inputs.mask
    assert inputs.mask.pixels == bytes(32 * 8) + b"\xff" * (32 * 8)


@pytest.mark.parametrize("inverted", [False, True])
def test_the_opaque_part_of_a_mask_where_that_is_meant(*, inverted: bool) -> None:
    upper = Image.new("L", (32, 16))
    upper.paste(255, (0, 0, 32, 8))
    painted = Image.new("L", (32, 16), 255)
    painted.putalpha(upper)
    expected = ImageChops.invert(upper) if inverted else upper

    for mask in (painted, upper):
        picture = (given("image", quarters()),)
        decoded = decode(images=picture, mask=given("mask", mask), opaque_mask=True, invert_mask=inverted)
        inputs = fit(decoded, "inpaint")
        assert inputs.mask
        assert inputs.mask.pixels == expected.tobytes()


def test_a_mask_wins_over_transparency() -> None:
    mask = Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 32, 64))
    decoded = decode(images=(given("image", erased()),), mask=given("mask", mask))

    inputs = fit(decoded, "inpaint")

    assert inputs.mask
    assert inputs.mask.pixels == (b"\xff" * 16 + bytes(16)) * 16


def test_a_control_image_gets_the_size_to_draw_and_gives_its_aspect() -> None:
    decoded = decode(control_image=given("control", WHITE.resize((8, 4))))
    inputs = fit(decoded, "text")

    assert decoded.size == (8, 4)
    assert size(inputs.control) == (32, 16)
    assert inputs.images == ()


def test_the_last_picture_of_a_clip() -> None:
    decoded = decode(images=(given("image", quarters()),), last_image=given("end_image", WHITE))

    assert size(fit(decoded, "image").last_image) == (32, 16)


def test_without_pictures_there_are_no_inputs() -> None:
    assert fit_inputs(decode(), Sampling("text", 8, 8)) is None
    assert decode().size is None


@pytest.mark.parametrize("field", ["images", "reference_images", "mask", "control_image", "last_image"])
def test_a_bad_picture_is_refused_under_the_name_that_it_came_with(field: str) -> None:
    bad = InputImage("as it came", data=as_file(quarters())[:60])
    fields: dict[str, Any] = {"images": (given("image", WHITE),)}
    fields[field] = (bad,) if field in {"images", "reference_images"} else bad

    with pytest.raises(APIError) as caught:
        decode(**fields)

    assert (caught.value.param, caught.value.code) == ("as it came", "invalid_image")


def test_all_pictures_are_bounded() -> None:
    large = replace(given("image", quarters()), field="mask")

    with pytest.raises(APIError) as caught:
        decode_inputs(ask("edit", images=(given("image", WHITE),), mask=large), max_pixels=4000)
    assert caught.value.param == "mask"
