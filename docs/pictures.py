"""Take the pictures of the pages that README.md shows: `PYTHONPATH=tests .venv/bin/python docs/pictures.py`.

They show the trained tiny model at work behind a gateway that knows models in other states too.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, ViewportSize

from clients.stack import serving
from runtime.runtimes import EXAMPLES, TINY
from ui.browsers import Visit, started
from ui.gateways import in_every_state, runtime_over

FOLDER = Path(__file__).parent / "pictures"
NAMES = ("tiny", "flux.1-schnell", "qwen-image", "sdxl-turbo", "wan-2.2")
PROMPTS = (
    "a green heart on a white background",
    "an orange star on a blue background",
    "a purple cross on a yellow background",
    "a blue square on a pink background",
    "a yellow circle on a black background",
    "a red circle on a white background",
)


def main() -> None:
    """Take all of them."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        models = Path(temporary)
        shutil.copytree(EXAMPLES / "tiny-model" / "model", models / "tiny-model" / "model")
        with (
            serving(models, {"tiny": TINY}, data_dir=str(models / "data")),
            in_every_state(runtime_over(models), models / "gateway", names=NAMES) as gateway,
            started() as browser,
        ):
            take(browser, gateway.url, "light")
            take(browser, gateway.url, "dark")


def take(browser: Browser, url: str, scheme: Literal["light", "dark"]) -> None:
    """Take the pictures in one colour scheme."""
    viewport: ViewportSize = {"width": 1280, "height": 900}
    context = browser.new_context(viewport=viewport, color_scheme=scheme)
    visit = Visit(context.new_page(), url)
    visit.watch()
    visit.open()
    visit.page.locator("#fields-more #steps").wait_for(state="attached")
    visit.settings(negative_prompt="")
    for seed, prompt in enumerate(PROMPTS, start=1):
        visit.draw(prompt, seed=str(seed))
    visit.page.get_by_text("More settings").click()
    visit.page.locator("#stage").focus()
    visit.page.evaluate("scrollTo(0, 0)")
    visit.page.screenshot(path=FOLDER / f"playground-{scheme}.png")
    edit(visit)
    visit.page.set_viewport_size({"width": 1280, "height": 1040})
    visit.page.screenshot(path=FOLDER / f"edit-{scheme}.png")
    visit.page.set_viewport_size(viewport)
    visit.open("/admin")
    visit.page.get_by_role("row").filter(has_text="no key").wait_for()
    visit.page.screenshot(path=FOLDER / f"admin-{scheme}.png")
    visit.expect_clean()
    context.close()


def edit(visit: Visit) -> None:
    """Paint a mask over what was drawn last."""
    visit.button("Edit").click()
    visit.page.locator("#mask-editor canvas").wait_for()
    visit.page.locator("#mask-editor canvas").evaluate("(canvas) => canvas.scrollIntoView({block: 'center'})")
    frame = visit.page.locator("#mask-editor canvas").bounding_box()
    assert frame  # noqa: S101 - the canvas is shown by now
    visit.page.locator("#brush-size").fill("40")
    for row in (0.3, 0.45, 0.6):
        visit.page.mouse.move(frame["x"] + frame["width"] * 0.55, frame["y"] + frame["height"] * row)
        visit.page.mouse.down()
        visit.page.mouse.move(frame["x"] + frame["width"] * 0.75, frame["y"] + frame["height"] * row, steps=5)
        visit.page.mouse.up()
    visit.field("Prompt").fill("a blue circle on a white background")
    visit.page.evaluate("scrollTo(0, 0)")


if __name__ == "__main__":
    main()
