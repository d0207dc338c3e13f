"""Changing a picture, all of it or the part under a mask that was painted by pointer or written as numbers."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import expect

from pictures import classify, draw
from runtime.picture_files import as_file
from ui.browsers import PROMPT, Visit, upload

GREEN = "a green circle on a white background"


def begin_edit(visit: Visit) -> Image.Image:
    """Choose a picture to change, and return it."""
    picture = draw("red", "circle", "white", size=128)
    visit.page.get_by_role("radio", name="Edit").check()
    chosen = upload(as_file(picture))
    visit.field("Picture to change").set_input_files(chosen)
    visit.page.locator("#mask-editor canvas").wait_for()
    return picture


def drag(visit: Visit, *points: tuple[float, float]) -> None:
    """Drag the pointer over the mask; points are shares of its width and height."""
    # The bar with the button covers the lower end of the screen.
    visit.page.locator("#mask-editor canvas").evaluate("(canvas) => canvas.scrollIntoView({block: 'center'})")
    frame = visit.page.locator("#mask-editor canvas").bounding_box()
    assert frame
    (x, y), *others = [(frame["x"] + frame["width"] * x, frame["y"] + frame["height"] * y) for x, y in points]
    visit.page.mouse.move(x, y)
    visit.page.mouse.down()
    for across, down in others:
        visit.page.mouse.move(across, down, steps=4)
    visit.page.mouse.up()


def painted(visit: Visit) -> NDArray[np.bool_]:
    """Return where the mask of the picture on the stage says that it is drawn anew."""
    visit.page.locator("#shown").get_by_role("button", name="Copy as code").click()
    with visit.page.expect_download() as download:
        visit.page.get_by_role("link", name="mask.png").click()
    visit.button("Close").click()
    with Image.open(download.value.path()) as mask:
        return np.asarray(mask.convert("RGBA"))[:, :, 3] < 128


def changed(before: Image.Image, after: Image.Image) -> NDArray[np.bool_]:
    difference = np.abs(np.asarray(before, dtype=int) - np.asarray(after, dtype=int))
    return np.asarray(difference.max(axis=2) > 0)


def test_only_what_the_brush_painted_is_drawn_anew(visit: Visit) -> None:
    before = begin_edit(visit)
    drag(visit, (0.2, 0.2), (0.2, 0.8), (0.4, 0.8))
    visit.settings(strength="1")
    after = visit.draw(GREEN, steps="4")

    mask = painted(visit)
    assert 0.02 < mask.mean() < 0.4
    assert mask[100, 26]
    assert not mask[:, 80:].any()
    different = changed(before, after)
    assert different.any()
    assert not different[~mask].any()


def test_the_eraser_and_undo_take_paint_away(visit: Visit) -> None:
    begin_edit(visit)
    drag(visit, (0.1, 0.5), (0.9, 0.5))
    visit.page.get_by_role("radio", name="Eraser").check(force=True)
    drag(visit, (0.5, 0.3), (0.5, 0.7))
    visit.page.get_by_role("radio", name="Brush").check(force=True)
    drag(visit, (0.1, 0.1), (0.9, 0.1))
    visit.button("Undo").click()
    visit.draw(GREEN, steps="2")

    mask = painted(visit)
    assert mask[64, 20]
    assert mask[64, 108]
    assert not mask[64, 64]
    assert not mask[12].any()


def test_boxes_by_numbers_make_a_mask_without_a_pointer(visit: Visit) -> None:
    before = begin_edit(visit)
    visit.page.get_by_text("Boxes by numbers").focus()
    visit.page.keyboard.press("Enter")
    for number in ("16", "32", "48", "64"):
        visit.page.keyboard.press("Tab")
        visit.page.keyboard.type(number)
    visit.page.keyboard.press("Tab")
    visit.page.keyboard.press("Enter")
    expect(visit.page.get_by_text("The painted part is drawn anew.")).to_be_visible()
    visit.settings(strength="1")
    after = visit.draw(GREEN, steps="4")

    wanted = np.zeros((128, 128), dtype=bool)
    wanted[32:96, 16:64] = True
    assert np.array_equal(painted(visit), wanted)
    assert not changed(before, after)[~wanted].any()


def test_a_drawn_picture_is_edited_next(visit: Visit) -> None:
    visit.draw(PROMPT)
    visit.button("Edit").click()
    visit.page.locator("#mask-editor canvas").wait_for()
    visit.settings(strength="0.95")
    edited = visit.draw("a blue star on a white background")

    assert classify(edited).colour == "blue"
    assert visit.posted[-1].url.endswith("/v1/images/edits")


def test_a_picture_is_enlarged_and_varied(visit: Visit) -> None:
    picture = upload(as_file(draw("red", "circle", "white", size=64)))
    visit.page.get_by_role("radio", name="Upscale").check()
    visit.field("Picture to enlarge").set_input_files(picture)
    visit.field("Scale").fill("3")
    enlarged = visit.drawn(visit.button("Upscale").click)
    visit.page.get_by_role("radio", name="Vary").check()
    visit.field("Picture to vary").set_input_files(picture)
    visit.settings(steps="4", seed="1")
    visit.drawn(visit.button("Vary").click)

    assert enlarged.size == (192, 192)
    assert classify(enlarged).shape == "circle"
    assert [request.url.rpartition("/")[2] for request in visit.posted] == ["upscale", "variations"]
