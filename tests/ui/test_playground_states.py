"""Models that are not ready: what the list says of them, waking one, and a request that waits."""

import re

import pytest
from playwright.sync_api import Locator, expect

from pictures import classify
from ui.browsers import PROMPT, Visit
from ui.conftest import StartVisit
from ui.gateways import FAILED_MESSAGE, States
from ui.test_playground_drawing import RED_CIRCLE


@pytest.fixture
def visit(states: States, start_visit: StartVisit) -> Visit:
    visit = start_visit(states.url, key=None).open()
    row(visit, "ready").wait_for()
    return visit


def row(visit: Visit, model: str) -> Locator:
    return visit.page.locator(".model", has=visit.page.locator(f"input[value='{model}']"))


def test_each_model_shows_its_state_and_why(visit: Visit) -> None:
    expect(row(visit, "ready")).to_have_text("readyReady")
    expect(row(visit, "cold")).to_have_text("coldCold")
    expect(row(visit, "loading")).to_have_text(re.compile("loadingLoading 40 %The weights are fetched."))
    expect(row(visit, "failed")).to_have_text(f"failedFailed{FAILED_MESSAGE}")
    # The list of models is for those who draw: what is turned off is not in it.
    expect(visit.page.locator(".model")).to_have_count(4)
    expect(row(visit, "disabled")).to_have_count(0)
    # What is ready is offered first.
    expect(visit.page.locator("input[name=model]:checked")).to_have_value("ready")


def test_a_cold_model_is_loaded_by_its_button(visit: Visit, states: States) -> None:
    visit.choose("cold")
    visit.button("Load").click()
    assert states.woken.wait(20)
    expect(row(visit, "cold")).to_contain_text("Loading 40 %")
    states.go.set()
    expect(row(visit, "cold")).to_contain_text("Ready")
    expect(visit.button("Load")).to_be_hidden()
    # By now it is known what the model can do.
    visit.page.get_by_role("radio", name="Upscale").wait_for()


def test_a_request_for_a_cold_model_waits_and_is_served(visit: Visit, states: States) -> None:
    visit.choose("cold")
    visit.field("Prompt").fill(PROMPT)
    visit.settings(seed="7", steps="10")
    visit.button("Draw").click()
    expect(visit.page.locator("#running-text")).to_contain_text("The model is loading")
    expect(visit.page.locator("#running-text")).to_contain_text("40 %")

    assert classify(visit.drawn(states.go.set)) == RED_CIRCLE


def test_a_request_that_waits_is_cancelled(visit: Visit, states: States) -> None:
    visit.choose("cold")
    visit.field("Prompt").fill(PROMPT)
    visit.button("Draw").click()
    expect(visit.page.locator("#running-text")).to_contain_text("The model is loading")
    visit.button("Cancel").click()

    expect(visit.page.locator("#news")).to_have_text("Cancelled.")


def test_a_model_that_cannot_draw_says_why(visit: Visit) -> None:
    visit.refused = {503}
    visit.choose("failed")
    visit.field("Prompt").fill(PROMPT)
    visit.button("Draw").click()

    expect(visit.page.get_by_role("alert").filter(has_text=FAILED_MESSAGE)).to_be_visible()
    expect(visit.field("Prompt")).to_have_value(PROMPT)


def test_a_model_that_is_disabled_meanwhile_says_so_and_leaves_the_list(visit: Visit, states: States) -> None:
    visit.choose("cold")
    visit.field("Prompt").fill(PROMPT)
    visit.button("Draw").click()
    expect(visit.page.locator("#running-text")).to_contain_text("The model is loading")
    states.disables.set()
    states.go.set()

    expect(visit.page.get_by_role("alert").filter(has_text="The model 'cold' is disabled.")).to_be_visible()
    expect(visit.field("Prompt")).to_have_value(PROMPT)
    expect(row(visit, "cold")).to_have_count(0)
    expect(visit.page.locator("input[name=model]:checked")).to_have_value("ready")
