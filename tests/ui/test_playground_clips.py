"""Clips in the playground: a job that is followed to its end, against a miniature of a video model."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from clients.stack import Stack, serving
from cluster.waiting import eventually
from pictures import draw
from runtime import miniatures
from runtime.picture_files import as_file
from ui.browsers import PROMPT, Visit, upload
from ui.conftest import StartVisit


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with a model that draws clips, and wants no key."""
    models = tmp_path_factory.mktemp("clips")
    miniatures.save_ltx_image(models / "ltx")
    spec = {"parameters": {"model": "ltx"}, "step": 2, "diffusers": {"pipeline_type": "LTXImageToVideoPipeline"}}
    with serving(models, {"ltx": spec}, data_dir=str(models / "data")) as running:
        yield running


@pytest.fixture
def visit(start_visit: StartVisit, studio: Stack) -> Visit:
    visit = start_visit(studio.url, key=None).open()
    visit.field("Frames").wait_for()
    return visit


def ask_for_clip(visit: Visit) -> None:
    visit.field("First frame").set_input_files(upload(as_file(draw("red", "circle", "white", size=64))))
    visit.field("Prompt").fill(PROMPT)
    visit.field("Frames").fill("9")
    visit.settings(seed="3")
    visit.button("Draw").click()


def make_clip(visit: Visit) -> None:
    visit.finished(lambda: ask_for_clip(visit))
    visit.page.locator("#shown figure .actions").wait_for()


def test_a_clip_is_drawn_and_played(visit: Visit, tmp_path: Path) -> None:
    make_clip(visit)
    visit.page.locator("#shown video").wait_for()

    expect(visit.page.locator("#shelf li")).to_have_count(1)
    assert visit.page.locator("#shown video").evaluate("(video) => video.readyState > 0 || video.error === null")
    with visit.page.expect_download() as download:
        visit.button("Download").click()
    assert download.value.suggested_filename == "clip.mp4"
    assert Path(download.value.path()).read_bytes()[4:8] == b"ftyp"


@pytest.mark.parametrize("language", ["curl", "Python"])
def test_a_clip_as_code(visit: Visit, language: str, tmp_path: Path) -> None:
    make_clip(visit)
    visit.page.locator("#shown figure .actions").get_by_role("button", name="Copy as code").click()
    visit.page.locator("#code-dialog[open]").wait_for()
    with visit.page.expect_download() as download:
        visit.page.locator("#code-files a").click()
    download.value.save_as(tmp_path / download.value.suggested_filename)
    visit.page.get_by_role("radio", name=language).check(force=True)
    code = visit.field("Code").input_value()
    program = ["sh", "-c"] if language == "curl" else [sys.executable, "-c"]
    done = subprocess.run([*program, code], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "clip.mp4").read_bytes()[4:8] == b"ftyp"


def test_a_cancelled_clip_is_deleted(visit: Visit, studio: Stack) -> None:
    def at_work() -> bool:
        jobs = studio.client.get("/v1/videos").json()["data"]
        return any(job["status"] in {"queued", "in_progress"} for job in jobs)

    visit.settings(steps="900")
    ask_for_clip(visit)
    visit.page.locator("#running-text").get_by_text("%").wait_for()
    visit.button("Cancel").click()

    expect(visit.page.locator("#news")).to_have_text("Cancelled.")
    eventually(lambda: not at_work(), what="end of the cancelled job")
