"""The commands that the playground shows really run, by a shell and by Python, and draw the same picture."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from pictures import draw
from runtime.picture_files import as_file
from ui.browsers import KEY, Visit, upload
from ui.test_playground_editing import begin_edit, drag

# Quotes, a dollar sign and a backslash: what a shell or Python would make something else of.
PROMPT = """a red 'circle' on a "white" background, $5 \\n"""


def shown_code(visit: Visit, language: str) -> str:
    visit.page.get_by_role("radio", name=language).check(force=True)
    return visit.field("Code").input_value()


def saved_files(visit: Visit, folder: Path) -> None:
    """Save what the dialog says that the command reads."""
    visit.page.locator("#code-dialog[open]").wait_for()
    for link in visit.page.locator("#code-files a").all():
        with visit.page.expect_download() as download:
            link.click()
        download.value.save_as(folder / download.value.suggested_filename)


def ran(code: str, language: str, folder: Path) -> Image.Image:
    """Run a command as somebody does who pasted it, and return the picture that it left."""
    command = ["sh", "-c", code] if language == "curl" else [sys.executable, "-c", code]
    env = os.environ | {"HELIOGRAPH_API_KEY": KEY, "no_proxy": "*"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (file,) = folder.glob("picture-*")
    return Image.open(file).convert("RGB")


@pytest.mark.parametrize("language", ["curl", "Python"])
def test_a_drawing_as_code(visit: Visit, language: str, tmp_path: Path) -> None:
    drawn = visit.draw(PROMPT, seed="", steps="4")
    visit.page.locator("#shown").get_by_role("button", name="Copy as code").click()
    code = shown_code(visit, language)

    assert KEY not in code
    assert np.array_equal(np.asarray(ran(code, language, tmp_path)), np.asarray(drawn))


@pytest.mark.parametrize("language", ["curl", "Python"])
def test_an_edit_as_code(visit: Visit, language: str, tmp_path: Path) -> None:
    begin_edit(visit)
    drag(visit, (0.2, 0.2), (0.2, 0.8), (0.4, 0.8))
    visit.settings(strength="0.9", negative_prompt="red")
    drawn = visit.draw("a green star; on a white background", seed="5", steps="4")
    visit.button("Copy as code").first.click()
    saved_files(visit, tmp_path)

    assert np.array_equal(np.asarray(ran(shown_code(visit, language), language, tmp_path)), np.asarray(drawn))


@pytest.mark.parametrize("language", ["curl", "Python"])
def test_an_enlargement_as_code(visit: Visit, language: str, tmp_path: Path) -> None:
    visit.page.get_by_role("radio", name="Upscale").check()
    picture = upload(as_file(draw("red", "circle", "white", size=64)))
    visit.field("Picture to enlarge").set_input_files(picture)
    visit.field("Scale").fill("3")
    drawn = visit.drawn(visit.button("Upscale").click)
    visit.button("Copy as code").first.click()
    saved_files(visit, tmp_path)

    assert np.array_equal(np.asarray(ran(shown_code(visit, language), language, tmp_path)), np.asarray(drawn))


def test_code_is_copied(visit: Visit) -> None:
    visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visit.field("Prompt").fill(PROMPT)
    visit.page.locator("#copy-form").click()
    visit.button("Copy").click()

    expect(visit.page.locator("#code-copied")).to_have_text("Copied.")
    assert visit.page.evaluate("navigator.clipboard.readText()") == visit.field("Code").input_value()


def test_code_is_selected_where_there_is_no_clipboard(visit: Visit) -> None:
    visit.page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    visit.field("Prompt").fill("a red circle")
    visit.page.locator("#copy-form").click()
    visit.button("Copy").click()

    expect(visit.page.locator("#code-copied")).to_contain_text("Ctrl+C")
    assert visit.page.evaluate("getSelection().toString()") == visit.field("Code").input_value()
