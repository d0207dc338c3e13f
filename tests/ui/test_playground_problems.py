"""What goes wrong is told at the field that is at fault, and nothing that was written is lost."""

import re

import pytest
from playwright.sync_api import expect

from clients.stack import Stack
from ui.browsers import PROMPT, Visit, upload


@pytest.fixture
def faulty(visit: Visit) -> Visit:
    visit.refused = {400}
    return visit


def test_an_empty_prompt(faulty: Visit) -> None:
    faulty.button("Draw").click()

    expect(faulty.page.get_by_role("alert").filter(has_text="prompt")).to_be_visible()
    expect(faulty.field("Prompt")).to_be_focused()
    expect(faulty.field("Prompt")).to_have_attribute("aria-invalid", "true")
    faulty.draw(steps="2")
    expect(faulty.field("Prompt")).not_to_have_attribute("aria-invalid", "true")


@pytest.mark.parametrize(
    ("label", "value"), [("Steps", "many"), ("Guidance", "1000"), ("Seed", "x"), ("Pictures", "999")]
)
def test_a_setting_that_cannot_be_used(faulty: Visit, label: str, value: str) -> None:
    faulty.field("Prompt").fill(PROMPT)
    faulty.settings(**{label.lower(): value})
    faulty.page.get_by_text("More settings").click()
    faulty.button("Draw").click()

    expect(faulty.field(label)).to_be_focused()
    expect(faulty.field(label)).to_have_value(value)
    told = faulty.page.locator("#failure p").first.inner_text()
    expect(faulty.field(label)).to_have_accessible_description(re.compile(re.escape(told)))


def test_a_size_that_cannot_be_used(faulty: Visit) -> None:
    faulty.field("Prompt").fill(PROMPT)
    faulty.page.get_by_role("radio", name="Custom").check()
    faulty.field("Width").fill("3")
    faulty.field("Height").fill("99999")
    faulty.button("Draw").click()

    expect(faulty.page.locator("#size-problem")).to_contain_text("size")
    expect(faulty.page.get_by_role("radio", name="Custom")).to_be_focused()


def test_an_edit_without_a_picture(faulty: Visit) -> None:
    faulty.page.get_by_role("radio", name="Edit").check()
    faulty.field("Prompt").fill(PROMPT)
    faulty.button("Edit").click()

    expect(faulty.field("Picture to change")).to_be_focused()
    expect(faulty.page.locator("#image-problem")).to_contain_text("image")


def test_a_file_that_is_no_picture(faulty: Visit) -> None:
    faulty.page.get_by_role("radio", name="Edit").check()
    faulty.field("Prompt").fill(PROMPT)
    faulty.field("Picture to change").set_input_files(upload(b"no picture"))
    faulty.button("Edit").click()

    expect(faulty.page.locator("#failure")).to_contain_text("invalid_image")
    expect(faulty.field("Picture to change")).to_be_focused()
    expect(faulty.field("Prompt")).to_have_value(PROMPT)


def test_a_gateway_that_cannot_be_reached(visit: Visit, stack: Stack) -> None:
    visit.field("Prompt").fill(PROMPT)
    visit.page.context.set_offline(True)
    visit.button("Draw").click()

    expect(visit.page.locator("#failure")).to_contain_text("can't be reached")
    visit.page.context.set_offline(False)
    visit.draw(steps="2")
    expect(visit.page.locator("#failure")).to_be_hidden()
    visit.problems = [problem for problem in visit.problems if "ERR_INTERNET_DISCONNECTED" not in problem]
