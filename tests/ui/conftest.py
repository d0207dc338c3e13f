"""Fixtures: one stack with the tiny model for all tests of the pages, and a browser for each module."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from clients.stack import Stack, serving
from runtime.runtimes import EXAMPLES, TINY
from ui.browsers import KEY, Visit, started
from ui.gateways import States, in_every_state, runtime_over

StartVisit = Callable[..., Visit]
# As few steps as draw what the prompt says.
_SPEC = {**TINY, "step": 8}


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models folder of the stack."""
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="session")
def stack(models: Path) -> Iterator[Stack]:
    """`heliograph serve` with the trained tiny model, which wants a key."""
    shutil.copytree(EXAMPLES / "tiny-model" / "model", models / "tiny-model" / "model")
    with ExitStack() as started_here:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HELIOGRAPH_API_KEY", KEY)
            running = started_here.enter_context(serving(models, {"tiny": _SPEC}, data_dir=str(models / "data")))
        yield running


# Not for the session: as long as Playwright runs in this thread, no test of another folder could run an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started() as running:
        yield running


@pytest.fixture
def start_visit(browser: Browser, stack: Stack) -> Iterator[StartVisit]:
    """Open pages in contexts of their own; at the end nothing may have gone wrong in any of them."""
    visits = []
    with ExitStack() as opened:

        def start(url: str = "", *, key: str | None = KEY, script: str = "", **options: Any) -> Visit:
            context = browser.new_context(viewport={"width": 1280, "height": 860}, **options)
            opened.callback(context.close)
            if key:
                context.add_init_script(
                    f"sessionStorage.getItem('seen') ?? (sessionStorage.setItem('seen', '1'), "
                    f"sessionStorage.setItem('heliograph.api-key', '{key}'))"
                )
            if script:
                context.add_init_script(script)
            visit = Visit(context.new_page(), url or stack.url)
            visit.watch()
            visits.append(visit)
            return visit

        yield start
        for visit in visits:
            visit.expect_clean()


@pytest.fixture
def visit(start_visit: StartVisit) -> Visit:
    """The playground, with a key and the tiny model."""
    visit = start_visit().open()
    visit.page.locator("#fields-more #steps").wait_for(state="attached")
    return visit


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    # The import brings what only this needs.
    from clients.installed import node_clients  # noqa: PLC0415

    source: str = (Path(node_clients()) / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    return source


@pytest.fixture
def states(stack: Stack, models: Path, tmp_path: Path) -> Iterator[States]:
    """A gateway that asks for no key, with a model in each state.

    Tests name it before `start_visit`, so that their pages are closed before it ends.
    """
    with in_every_state(runtime_over(models), tmp_path) as running:
        yield running
