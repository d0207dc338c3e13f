from dataclasses import replace
from typing import Any

import pytest

from heliograph_api.defaults import GenerationDefaults
from heliograph_api.errors import APIError
from heliograph_api.images.fields import MAX_SIDE
from heliograph_runtime.engines.protocol import Capabilities, Mode
from heliograph_runtime.images.sizes import Size, choose_frames, choose_size
from runtime.capable import ABLE, FILMING, REFERENCING, REFERRING, UPSCALING, ask, check_refusal

COMPAT = GenerationDefaults(width=256, height=128)
LARGE = 2048 * 2048


def size(
    mode: Mode = "text",
    *,
    capabilities: Capabilities = ABLE,
    defaults: GenerationDefaults = GenerationDefaults(),  # noqa: B008 - frozen
    max_pixels: int = LARGE,
    picture: Size | None = None,
    **fields: Any,
) -> Size:
    return choose_size(
        ask(**fields), mode, capabilities=capabilities, defaults=defaults, max_pixels=max_pixels, picture=picture
    )


def test_the_request_comes_first_then_the_default_then_the_picture_then_the_model() -> None:
    everything: dict[str, Any] = {"defaults": COMPAT, "picture": (300, 200), "width": 64, "height": 72}

    assert size("image", **everything) == (64, 72)
    assert size("image", **everything | {"width": None, "height": None}) == (256, 128)
    assert size("image", picture=(300, 200)) == (624, 416)
    assert size("text") == (512, 512)


@pytest.mark.parametrize(("asked", "drawn"), [(16, 16), (17, 16), (20, 24), (23, 24), (508, 512)])
def test_sides_are_rounded_to_the_nearest_multiple(asked: int, drawn: int) -> None:
    assert size(width=asked, height=16)[0] == drawn


def test_a_side_is_one_multiple_at_least() -> None:
    assert size(width=16, height=16, capabilities=replace(ABLE, size_multiple=64)) == (64, 64)


@pytest.mark.parametrize(
    ("picture", "drawn"),
    [
        ((512, 512), (512, 512)),
        ((64, 64), (512, 512)),
        ((4000, 4000), (512, 512)),
        ((1920, 1080), (680, 384)),
        ((1080, 1920), (384, 680)),
        ((1, 1), (512, 512)),
    ],
)
def test_a_picture_keeps_its_aspect_and_gets_the_native_number_of_pixels(picture: Size, drawn: Size) -> None:
    for mode in ("image", "inpaint"):
        assert size(mode, picture=picture) == drawn
    assert size("reference", picture=picture, capabilities=REFERENCING) == drawn
    assert drawn[0] * drawn[1] <= 512 * 512


@pytest.mark.parametrize("picture", [(60_000, 1), (1, 60_000), (8191, 13)])
def test_an_extreme_aspect_stays_within_bounds(picture: Size) -> None:
    width, height = size("image", picture=picture)

    assert 8 <= min(width, height) <= max(width, height) <= MAX_SIDE
    assert width * height <= LARGE


def test_limits_make_the_native_size_smaller() -> None:
    assert size(max_pixels=256 * 256) == (256, 256)
    assert size(max_pixels=256 * 256, picture=(200, 100)) == (360, 176)
    assert size(capabilities=replace(ABLE, max_pixels=128 * 128)) == (128, 128)
    assert size(capabilities=replace(ABLE, max_pixels=128 * 128), defaults=COMPAT) == (184, 88)


def test_more_than_the_device_can_draw_is_refused_with_what_it_can() -> None:
    with pytest.raises(APIError) as caught:
        size(width=1024, height=1024, capabilities=replace(ABLE, max_pixels=800_000))

    check_refusal(caught.value, param="size", says="ask for at most 888x888")


def test_a_size_that_cannot_be_chosen_is_the_pictures() -> None:
    capabilities = replace(ABLE, modes={"reference": replace(REFERRING, sized=False)})

    assert size("reference", width=64, height=64, picture=(200, 100), capabilities=capabilities) == (728, 360)


def test_an_enlargement_is_a_multiple_of_the_picture() -> None:
    capabilities = replace(ABLE, modes={"upscale": UPSCALING})

    assert size("upscale", picture=(33, 50), capabilities=capabilities, width=8, height=8) == (66, 100)
    assert size("upscale", picture=(33, 50), capabilities=capabilities, scale=4) == (132, 200)
    with pytest.raises(APIError) as caught:
        size("upscale", picture=(1025, 1025), capabilities=capabilities)
    check_refusal(
        caught.value, param="image", says="1025x1025 is too large to be enlarged by 2; send at most 1024x1024"
    )
    with pytest.raises(APIError) as caught:
        size("upscale", picture=(8001, 8), capabilities=capabilities)
    check_refusal(caught.value, param="image", says="8001x8 is too long to be enlarged by 2; send at most 8000 pixels")


@pytest.mark.parametrize(
    ("fields", "chosen"),
    [
        ({}, (25, 8)),
        ({"num_frames": 1}, (1, 8)),
        ({"num_frames": 16, "seconds": 5.0}, (17, 8)),
        ({"num_frames": 14}, (13, 8)),
        ({"seconds": 4.0}, (33, 8)),
        ({"seconds": 0.1}, (1, 8)),
        ({"seconds": 2.0, "fps": 24}, (49, 24)),
        ({"fps": 24}, (25, 24)),
        ({"num_frames": 81}, (81, 8)),
    ],
)
def test_the_frames_of_a_clip(fields: dict[str, Any], chosen: tuple[int, int]) -> None:
    assert FILMING.video
    assert choose_frames(ask(**fields), FILMING.video) == chosen


def test_frames_are_rounded_to_no_more_than_there_can_be() -> None:
    assert FILMING.video
    assert choose_frames(ask(num_frames=80), replace(FILMING.video, max_frames=80)) == (77, 8)


@pytest.mark.parametrize(("fields", "param"), [({"num_frames": 1}, "num_frames"), ({"seconds": 0.1}, "seconds")])
def test_a_clip_that_is_too_short_is_refused(fields: dict[str, Any], param: str) -> None:
    assert FILMING.video
    with pytest.raises(APIError) as caught:
        choose_frames(ask(**fields), replace(FILMING.video, min_frames=2))

    check_refusal(caught.value, param=param, says="ask for at least 2")


@pytest.mark.parametrize(("fields", "param"), [({"num_frames": 82}, "num_frames"), ({"seconds": 60.0}, "seconds")])
def test_a_clip_that_is_too_long_is_refused(fields: dict[str, Any], param: str) -> None:
    assert FILMING.video
    with pytest.raises(APIError) as caught:
        choose_frames(ask(**fields), FILMING.video)

    check_refusal(caught.value, param=param, says="ask for at most 81")
