from dataclasses import replace
from typing import Any

import pytest

from heliograph_api.errors import APIError
from heliograph_runtime.engines.protocol import Capabilities
from heliograph_runtime.images.modes import choose_mode, enlarges_without_model
from runtime.capable import (
    ABLE,
    CHANGING,
    CONTROL,
    FILMING,
    IMAGE,
    INPAINTING,
    MASK,
    OTHER_IMAGE,
    REFERENCE,
    REFERENCING,
    REFERRING,
    TEXT,
    UNABLE,
    UPSCALING,
    ask,
    check_refusal,
)

EVERYTHING = replace(
    ABLE,
    modes={"text": TEXT, "image": CHANGING, "inpaint": INPAINTING, "reference": REFERRING, "upscale": UPSCALING},
)
REFERS_FIRST = replace(EVERYTHING, modes={"text": TEXT, "reference": REFERRING, "image": CHANGING})
MASKED = replace(ABLE, modes={"text": TEXT, "inpaint": INPAINTING})
LAST = replace(IMAGE, field="last_image")


@pytest.mark.parametrize(
    ("capabilities", "operation", "fields", "mode"),
    [
        (EVERYTHING, "generate", {}, "text"),
        (EVERYTHING, "generate", {"images": (IMAGE,)}, "image"),
        (EVERYTHING, "edit", {"images": (IMAGE,)}, "image"),
        (EVERYTHING, "variation", {"images": (IMAGE,)}, "image"),
        (EVERYTHING, "edit", {"images": (IMAGE,), "mask": MASK}, "inpaint"),
        (EVERYTHING, "generate", {"images": (IMAGE,), "mask": MASK}, "inpaint"),
        (EVERYTHING, "inpaint", {"reference_images": (REFERENCE,), "mask": MASK}, "inpaint"),
        (EVERYTHING, "generate", {"reference_images": (REFERENCE,)}, "reference"),
        (EVERYTHING, "edit", {"images": (IMAGE, IMAGE)}, "reference"),
        (EVERYTHING, "edit", {"images": (IMAGE,), "reference_images": (REFERENCE,) * 2}, "reference"),
        (EVERYTHING, "upscale", {"images": (IMAGE,)}, "upscale"),
        (REFERENCING, "edit", {"images": (IMAGE,)}, "reference"),
        (REFERS_FIRST, "edit", {"images": (IMAGE,)}, "reference"),
        (REFERS_FIRST, "edit", {"images": (IMAGE,), "strength": 0.5}, "image"),
        (REFERS_FIRST, "edit", {"images": (IMAGE, IMAGE), "strength": 0.5}, "reference"),
        (REFERS_FIRST, "edit", {"reference_images": (REFERENCE,), "strength": 0.5}, "reference"),
        (ABLE, "edit", {"reference_images": (REFERENCE,)}, "image"),
        (MASKED, "edit", {"images": (IMAGE,)}, "inpaint"),
        (FILMING, "video", {"images": (IMAGE,)}, "image"),
        (ABLE, "generate", {"control_image": CONTROL}, "text"),
    ],
)
def test_what_comes_decides_the_mode(
    capabilities: Capabilities, operation: str, fields: dict[str, Any], mode: str
) -> None:
    assert choose_mode(ask(operation, **fields), capabilities) == mode


@pytest.mark.parametrize(
    ("operation", "count", "mode"),
    [("edit", 1, "inpaint"), ("inpaint", 1, "inpaint"), ("generate", 1, "image"), ("edit", 2, "reference")],
)
def test_transparency_is_a_mask_on_the_paths_for_edits(operation: str, count: int, mode: str) -> None:
    assert choose_mode(ask(operation, images=(IMAGE,) * count), EVERYTHING, transparent=True) == mode


@pytest.mark.parametrize(
    ("capabilities", "operation", "fields", "param", "says"),
    [
        (UNABLE, "edit", {"images": (OTHER_IMAGE,)}, "file", "draws from text alone; leave it out"),
        (UNABLE, "edit", {"images": (IMAGE,), "mask": MASK}, "mask", "can't draw a part of a picture anew"),
        (UNABLE, "generate", {"control_image": CONTROL}, "control", "no ControlNet"),
        (
            ABLE,
            "edit",
            {"images": (IMAGE,), "mask": MASK, "control_image": CONTROL},
            "control",
            "for mode text and image",
        ),
        (UNABLE, "generate", {"num_frames": 8}, "num_frames", "pictures, not clips"),
        (UNABLE, "generate", {"fps": 8}, "fps", "pictures, not clips"),
        (UNABLE, "generate", {"seconds": 1.0}, "seconds", "pictures, not clips"),
        (UNABLE, "video", {}, "model", "choose a model for clips"),
        (ABLE, "generate", {"images": (IMAGE,), "last_image": LAST}, "last_image", "pictures, not clips"),
        (ABLE, "edit", {"images": (OTHER_IMAGE, IMAGE)}, "file", "uses 1 of 2 pictures"),
        (ABLE, "edit", {"images": (IMAGE, IMAGE), "mask": MASK}, "image", "uses 1 of 2 pictures"),
        (ABLE, "inpaint", {"images": (IMAGE,)}, "mask", "is required"),
        (REFERENCING, "edit", {"images": (IMAGE,) * 4}, "image", "uses 3 of 4 pictures"),
        (FILMING, "generate", {}, "image", "is required"),
        (FILMING, "generate", {"images": (IMAGE,), "last_image": LAST}, "last_image", "no last picture"),
        (MASKED, "generate", {"images": (IMAGE,)}, "image", "needs a mask"),
        (MASKED, "variation", {"images": (IMAGE,)}, "image", "needs a mask"),
        (MASKED, "inpaint", {"images": (IMAGE,)}, "mask", "is required"),
        (MASKED, "edit", {"images": (IMAGE,) * 2}, "image", "uses 1 of 2 pictures"),
    ],
)
def test_what_the_model_cannot_do_is_refused_by_name(
    capabilities: Capabilities, operation: str, fields: dict[str, Any], param: str, says: str
) -> None:
    with pytest.raises(APIError) as caught:
        choose_mode(ask(operation, **fields), capabilities)

    check_refusal(caught.value, param=param, says=says)


def test_the_model_enlarges_if_it_can() -> None:
    request = ask("upscale", images=(IMAGE,))

    assert enlarges_without_model(request, ABLE)
    assert not enlarges_without_model(request, EVERYTHING)
    assert not enlarges_without_model(ask("edit", images=(IMAGE,)), ABLE)
