"""Everybody can use the pages: by keyboard alone, with a screen reader's names, dark and light, on a narrow screen."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from clients.stack import Stack
from pictures import classify
from ui.browsers import KEY, PROMPT, Visit
from ui.conftest import StartVisit
from ui.gateways import States
from ui.test_playground_drawing import RED_CIRCLE
from ui.test_playground_editing import begin_edit, drag

Check = Callable[[Visit], None]


@pytest.fixture
def check(axe: str) -> Check:
    """Look at a page with axe-core: every rule that it has for the levels A and AA, and its best practices."""

    def look(visit: Visit) -> None:
        visit.page.evaluate(axe)
        # Colours that are on their way to others are judged once they are there.
        visit.page.evaluate(
            "Promise.all(document.getAnimations().map((one) => one.effect.getTiming().iterations === "
            "Infinity ? null : one.finished))"
        )
        found: list[dict[str, Any]] = visit.page.evaluate("axe.run().then(({violations}) => violations)")
        told = [f"{it['id']}: {node['html'][:200]} {node['failureSummary']}" for it in found for node in it["nodes"]]
        assert not told, "\n".join(told)

    return look


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_playground_in_every_state(states: States, start_visit: StartVisit, check: Check, scheme: str) -> None:
    visit = start_visit(states.url, key=None, color_scheme=scheme).open()
    visit.refused = {400, 503}
    visit.page.locator("#fields-more #steps").wait_for(state="attached")
    check(visit)
    visit.page.get_by_text("More settings").click()
    visit.button("Draw").click()
    visit.page.locator("#failure").wait_for()
    check(visit)
    visit.draw(steps="4")
    check(visit)
    visit.button("Copy as code").first.click()
    check(visit)
    visit.button("Close").click()
    visit.page.locator("#history-clear").click()
    check(visit)
    visit.button("Keep").click()
    visit.button("API key").click()
    check(visit)
    visit.page.keyboard.press("Escape")
    begin_edit(visit)
    drag(visit, (0.2, 0.2), (0.5, 0.5))
    visit.page.get_by_text("Boxes by numbers").click()
    check(visit)
    visit.page.get_by_role("radio", name="Draw").check()
    visit.choose("cold")
    check(visit)
    visit.button("Draw").click()
    visit.page.get_by_text("The model is loading").wait_for()
    check(visit)
    visit.button("Cancel").click()
    visit.choose("failed")
    visit.button("Draw").click()
    visit.page.locator("#failure").wait_for()
    check(visit)


def test_the_admin_page(states: States, start_visit: StartVisit, check: Check, scheme: str) -> None:
    visit = start_visit(states.url, key=None, color_scheme=scheme).open("/admin")
    visit.page.locator(".card").nth(4).wait_for()
    check(visit)
    visit.button("API key").click()
    check(visit)


def test_the_key_is_asked_for(start_visit: StartVisit, check: Check, scheme: str) -> None:
    visit = start_visit(key=None, color_scheme=scheme)
    visit.refused = {401}
    visit.open()
    visit.field("Key").fill("not-the-key")
    visit.page.keyboard.press("Enter")
    visit.page.get_by_text("The gateway does not accept this key.").wait_for()
    check(visit)


def test_a_picture_is_drawn_by_keyboard_alone(start_visit: StartVisit) -> None:
    visit = start_visit().open()
    visit.page.locator("#fields-more #steps").wait_for(state="attached")
    press, expected = visit.page.keyboard.press, visit.page.locator

    def tab_to(selector: str) -> None:
        for _ in range(40):
            if expected(f"{selector}:focus").count():
                return
            press("Tab")
        raise AssertionError(f"Tab does not lead to {selector}")

    press("Tab")
    expect(visit.page.get_by_role("link", name="Skip to the pictures")).to_be_focused()
    tab_to("#prompt")
    visit.page.keyboard.type(PROMPT)
    tab_to("input[name=shape]")
    press("ArrowRight")
    tab_to("#seed")
    visit.page.keyboard.type("7")
    tab_to("summary")
    press("Enter")
    tab_to("#steps")
    for _ in range(3):
        press("ArrowUp")
    visit.finished(lambda: press("Control+Enter"))

    assert classify(visit.picture()) == RED_CIRCLE
    asked = visit.posted[-1].post_data_json
    assert asked
    assert (asked["steps"], asked["size"]) == (11, "128x128")
    tab_to("#shown .actions button:nth-child(2)")
    visit.finished(lambda: press("Enter"))


def test_cancel_gives_the_focus_back(start_visit: StartVisit) -> None:
    visit = start_visit().open()
    visit.page.locator("#fields-more #steps").wait_for(state="attached")
    visit.field("Prompt").fill(PROMPT)
    visit.settings(steps="900")
    visit.button("Draw").focus()
    visit.page.keyboard.press("Enter")
    visit.button("Cancel").focus()
    visit.page.get_by_text("of 900").wait_for()
    visit.page.keyboard.press("Enter")

    expect(visit.button("Draw")).to_be_focused()


def test_dark_and_light_follow_the_system_and_the_button(start_visit: StartVisit) -> None:
    visit = start_visit(color_scheme="dark").open()
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = visit.page.evaluate(ground)
    visit.button("Dark").click()
    light = visit.page.evaluate(ground)
    visit.page.reload()

    assert dark == "rgb(21, 20, 19)"
    assert light == "rgb(247, 245, 242)"
    assert visit.page.evaluate(ground) == light
    expect(visit.button("Dark")).to_have_attribute("aria-pressed", "false")


@pytest.mark.parametrize(
    ("path", "last"), [("/", "#fields-more #steps"), ("/admin", "#usage td")], ids=["playground", "admin"]
)
def test_nothing_is_cut_off_on_a_narrow_screen(
    start_visit: StartVisit, stack: Stack, check: Check, path: str, last: str
) -> None:
    # Else nothing may have been used yet.
    drawn = {"prompt": PROMPT, "steps": 2}
    stack.post("/v1/images/generations", json=drawn, headers={"Authorization": f"Bearer {KEY}"})
    visit = start_visit()
    visit.page.set_viewport_size({"width": 320, "height": 640})
    visit.open(path)
    visit.page.get_by_text("tiny").first.wait_for()
    visit.page.locator(last).first.wait_for(state="attached")

    assert visit.page.evaluate("document.documentElement.scrollWidth") == 320
    check(visit)


def test_nothing_moves_for_those_who_asked_for_it(start_visit: StartVisit) -> None:
    visit = start_visit(reduced_motion="reduce").open()
    visit.page.locator("#fields-more #steps").wait_for(state="attached")
    visit.field("Prompt").fill(PROMPT)
    visit.settings(steps="900")
    visit.button("Draw").click()
    visit.page.locator("#progress").wait_for()

    assert visit.page.evaluate("document.getAnimations().length") == 0
    visit.button("Cancel").click()
