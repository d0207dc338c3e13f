"""The key: asked for when the gateway wants one, kept as long as the person said, and sent to nobody else."""

import pytest
from playwright.sync_api import expect

from pictures import classify
from ui.browsers import KEY, Visit
from ui.conftest import StartVisit
from ui.test_playground_drawing import RED_CIRCLE

BLOCKED = """
for (const kind of ["localStorage", "sessionStorage", "indexedDB"]) {
  Object.defineProperty(window, kind, {get() { throw new DOMException("blocked", "SecurityError"); }});
}
"""


def give_key(visit: Visit, key: str, *, remember: bool = False) -> None:
    visit.field("Key").fill(key)
    visit.page.get_by_label("Remember it in this browser").set_checked(remember)
    visit.button("Use key").click()


def ready(visit: Visit) -> None:
    visit.page.locator(".model").get_by_text("tiny").wait_for()


@pytest.fixture
def stranger(start_visit: StartVisit) -> Visit:
    visit = start_visit(key=None)
    visit.refused = {401}
    return visit.open()


def test_the_page_asks_for_a_key_and_sends_it_as_bearer(stranger: Visit) -> None:
    expect(stranger.page.get_by_role("dialog", name="API key")).to_be_visible()
    expect(stranger.field("Key")).to_be_focused()
    give_key(stranger, KEY)
    ready(stranger)
    stranger.page.locator("#fields-more #steps").wait_for(state="attached")

    assert classify(stranger.draw()) == RED_CIRCLE
    assert stranger.posted[-1].headers["authorization"] == f"Bearer {KEY}"


def test_a_wrong_key_is_asked_for_again(stranger: Visit) -> None:
    give_key(stranger, "not-the-key")
    expect(stranger.page.get_by_text("The gateway does not accept this key.")).to_be_visible()
    expect(stranger.field("Key")).to_have_value("")
    give_key(stranger, KEY)
    ready(stranger)


@pytest.mark.parametrize("remember", [False, True])
def test_a_key_is_kept_for_the_tab_or_for_good(stranger: Visit, remember: bool) -> None:
    give_key(stranger, KEY, remember=remember)
    ready(stranger)
    stranger.page.reload()
    ready(stranger)
    other = stranger.page.context.new_page()
    other.goto(stranger.url)
    if remember:
        other.locator(".model").get_by_text("tiny").wait_for()
    else:
        other.get_by_role("dialog", name="API key").wait_for()
    kept = stranger.page.evaluate("Object.values(localStorage)")

    assert (KEY in kept) is remember


def test_a_key_is_forgotten(stranger: Visit) -> None:
    give_key(stranger, KEY, remember=True)
    ready(stranger)
    stranger.button("API key set").click()
    stranger.button("Forget key").click()

    expect(stranger.button("API key")).to_be_visible()
    assert KEY not in stranger.page.evaluate("[...Object.values(localStorage), ...Object.values(sessionStorage)]")


def test_the_page_works_where_storage_is_blocked(start_visit: StartVisit) -> None:
    visit = start_visit(key=None, script=BLOCKED)
    visit.refused = {401}
    visit.open()
    give_key(visit, KEY, remember=True)
    ready(visit)
    visit.page.locator("#fields-more #steps").wait_for(state="attached")

    assert classify(visit.draw()) == RED_CIRCLE
    expect(visit.page.locator("#history-note")).to_contain_text("storage is blocked")
    assert classify(visit.drawn(visit.button("Again").click)) == RED_CIRCLE


def test_without_a_key_the_page_says_so_and_stays_usable(stranger: Visit) -> None:
    stranger.button("Cancel").click()
    expect(stranger.page.locator("#models-note")).to_contain_text("A valid API key is required")
    stranger.button("API key").click()
    give_key(stranger, KEY)
    ready(stranger)
