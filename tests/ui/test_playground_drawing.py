"""Drawing in the playground, against the trained model: pictures, progress, previews, cancelling, the history."""

import json
import re

import numpy as np
from PIL import Image
from playwright.sync_api import expect

from pictures import Content, classify
from ui.browsers import PROMPT, Visit
from ui.conftest import StartVisit

RED_CIRCLE = Content("red", "circle", "white")


def test_a_picture_is_what_the_prompt_says(visit: Visit) -> None:
    assert classify(visit.draw(steps="20")) == RED_CIRCLE
    expect(visit.page.locator("#shown figcaption")).to_contain_text("Seed 7")
    expect(visit.page.locator("#shown figcaption")).to_contain_text("128 \u00d7 128")
    expect(visit.page.get_by_role("status").filter(has_text="Done.")).to_have_count(1)


def test_only_what_differs_from_the_models_own_values_is_sent(visit: Visit) -> None:
    visit.field("Prompt").fill(PROMPT)
    visit.drawn(visit.button("Draw").click)

    (request,) = visit.posted
    asked = request.post_data_json
    expected = {"model": "tiny", "prompt": PROMPT, "stream": True, "stream_format": "openai", "partial_images": 3}
    assert asked == expected


def test_progress_and_unfinished_pictures_are_shown(start_visit: StartVisit) -> None:
    # They come and go within a second: an observer writes down what was there.
    seen = """new MutationObserver(() => {
      window.seen ??= {alts: new Set(), texts: new Set(), values: new Set()};
      document.querySelectorAll('#shown img').forEach((image) => window.seen.alts.add(image.alt));
      window.seen.texts.add(document.getElementById('running-text')?.textContent);
      window.seen.values.add(document.getElementById('progress')?.value);
    }).observe(document, {subtree: true, childList: true, attributes: true, characterData: true});"""
    visit = start_visit(script=seen).open()
    visit.page.locator("#fields-more #steps").wait_for(state="attached")
    visit.draw(steps="12")

    told = json.loads(
        visit.page.evaluate("JSON.stringify(window.seen, (_, value) => value instanceof Set ? [...value] : value)")
    )
    assert "Unfinished picture" in told["alts"]
    assert {f"Step {step} of 12" for step in (1, 6, 12)} <= set(told["texts"])
    assert any(0.2 < (value or 0) < 0.8 for value in told["values"])


def test_cancel_stops_the_drawing(visit: Visit) -> None:
    visit.field("Prompt").fill(PROMPT)
    visit.settings(steps="900")
    visit.button("Draw").click()
    # A step is shown for no longer than it takes: any of them will do.
    expect(visit.page.locator("#running-text")).to_have_text(re.compile(r"^Step \d+ of 900$"))
    visit.button("Cancel").click()

    expect(visit.page.locator("#news")).to_have_text("Cancelled.")
    expect(visit.page.locator("#running")).to_be_hidden()
    expect(visit.page.locator("#shelf li")).to_have_count(0)
    # The model is free again: 900 steps would take minutes.
    assert classify(visit.draw()) == RED_CIRCLE


def test_several_pictures_have_a_seed_each(visit: Visit) -> None:
    visit.settings(pictures="2")
    first = visit.draw(seed="40", steps="4")
    second = visit.picture(1)

    expect(visit.page.locator("#shown figcaption").nth(0)).to_contain_text("Seed 40")
    expect(visit.page.locator("#shown figcaption").nth(1)).to_contain_text("Seed 41")
    assert np.asarray(first).tobytes() != np.asarray(second).tobytes()


def test_again_draws_the_same_picture(visit: Visit) -> None:
    first = visit.draw(seed="", steps="4")
    again = visit.drawn(visit.button("Again").click)

    assert np.array_equal(np.asarray(first), np.asarray(again))
    assert visit.field("Seed").input_value() in visit.page.locator("#shown figcaption").inner_text()


def test_the_history_outlives_the_page_and_can_be_deleted(visit: Visit) -> None:
    first = visit.draw(seed="3", steps="4")
    visit.draw("a blue star on a black background", seed="4", steps="4")
    visit.page.reload()
    visit.page.get_by_role("button", name=f"Show: {PROMPT}, seed 3").click()

    assert np.array_equal(np.asarray(visit.picture()), np.asarray(first))
    # The least that a later visit can do is to draw it again.
    again = visit.drawn(visit.button("Again").click)
    assert np.array_equal(np.asarray(again), np.asarray(first))

    visit.page.get_by_role("button", name="Delete: a blue star on a black background, seed 4").focus()
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator("#shelf li")).to_have_count(2)
    visit.page.locator("#history-clear").click()
    visit.page.locator("#clear-dialog").get_by_role("button", name="Clear").click()
    expect(visit.page.locator("#shelf li")).to_have_count(0)
    visit.page.reload()
    visit.page.locator("#history-note").get_by_text("What you draw is kept here").wait_for()
    expect(visit.page.locator("#shelf li")).to_have_count(0)


def test_a_picture_is_downloaded_as_a_file(visit: Visit) -> None:
    drawn = visit.draw(steps="4")
    with visit.page.expect_download() as download:
        visit.button("Download").click()

    assert download.value.suggested_filename == "picture-7.png"
    with Image.open(download.value.path()) as file:
        assert np.array_equal(np.asarray(file.convert("RGB")), np.asarray(drawn))


def test_the_size_is_chosen_by_shape_or_by_numbers(visit: Visit) -> None:
    visit.page.get_by_role("radio", name="16:9").check()
    wide = visit.draw(steps="2")
    visit.page.get_by_role("radio", name="Custom").check()
    visit.field("Width").fill("64")
    visit.field("Height").fill("96")
    own = visit.draw(steps="2")

    assert wide.width > wide.height
    assert 1.6 < wide.width / wide.height < 1.95
    assert own.size == (64, 96)
