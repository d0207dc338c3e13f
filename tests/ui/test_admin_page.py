"""The admin page: models with replicas and queues, kept up to date, and what each key used."""

from playwright.sync_api import Locator, expect

from clients.stack import Stack
from ui.browsers import KEY, PROMPT, Visit
from ui.conftest import StartVisit
from ui.gateways import FAILED_MESSAGE, States


def card(visit: Visit, model: str) -> Locator:
    return visit.page.locator(".card", has=visit.page.get_by_role("heading", name=model, exact=True))


def test_models_are_shown_with_their_states(states: States, start_visit: StartVisit) -> None:
    visit = start_visit(states.url, key=None).open("/admin")

    expect(card(visit, "ready")).to_contain_text("1 of 1")
    expect(card(visit, "ready").get_by_role("row")).to_have_count(2)
    expect(card(visit, "failed")).to_contain_text(f"WeightsNotFound: {FAILED_MESSAGE}")
    expect(card(visit, "loading")).to_contain_text("Loading 40 %")
    expect(card(visit, "cold")).to_contain_text("0 of 0")
    expect(card(visit, "disabled")).to_contain_text("Disabled")


def test_what_changes_is_shown_without_a_reload(states: States, start_visit: StartVisit) -> None:
    page = start_visit(states.url, key=None).open("/admin")
    expect(card(page, "cold")).to_contain_text("Cold")
    drawing = start_visit(states.url, key=None).open()
    drawing.choose("cold")
    drawing.field("Prompt").fill(PROMPT)
    drawing.button("Draw").click()

    expect(card(page, "cold")).to_contain_text("Loading 40 %")
    expect(card(page, "cold")).to_contain_text("Waiting by key: no key 1")
    drawing.finished(states.go.set)
    expect(card(page, "cold")).to_contain_text("Ready")
    expect(page.page.locator("#news")).to_contain_text("cold is ready")


def test_usage_is_told_by_key_and_model(start_visit: StartVisit, stack: Stack) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    for _ in range(2):
        stack.post("/v1/images/generations", json={"prompt": PROMPT, "steps": 2}, headers=headers)
    visit = start_visit().open("/admin")
    used = visit.page.get_by_role("row").filter(has_text="default").filter(has_text="tiny")

    expect(used).to_be_visible()
    cells = used.get_by_role("cell").all_inner_texts()
    assert cells[0] == "tiny"
    assert int(cells[1]) >= 2


def test_the_page_asks_for_a_key(start_visit: StartVisit) -> None:
    visit = start_visit(key=None)
    visit.refused = {401}
    visit.open("/admin")
    visit.field("Key").fill(KEY)
    visit.button("Use key").click()

    expect(card(visit, "tiny")).to_contain_text("Ready")
