"""A real browser on the pages, watched for whatever must not happen: errors, and requests to elsewhere."""

import base64
import io
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    FilePayload,
    Locator,
    Page,
    Request,
    Response,
    expect,
    sync_playwright,
)

from runtime.runtimes import ROOT

PROMPT = "a red circle on a white background"
KEY = "ui-tests-key-of-no-other-use"
_NAMES = ("chromium", "chromium-browser", "google-chrome")
# For what the page does by itself, and for what a model draws.
_PATIENCE_MS = 20_000
_DRAWING_MS = 60_000
_PIXELS = """async (image) => {
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas.toDataURL("image/png");
}"""


def chromium() -> Path:
    """Return the browser; Debian's is installed now where it is missing and root runs the tests."""
    if found := next(filter(None, map(shutil.which, _NAMES)), None):
        return Path(found)
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        reporter = import_module("steps").Reporter()
        install = import_module("bootstrap").install_debian_package
    finally:
        sys.path.remove(str(ROOT / "scripts"))
    install("chromium", missing="The tests of the pages need Chromium", reporter=reporter)
    return Path(shutil.which("chromium") or "/usr/bin/chromium")


def upload(content: bytes) -> FilePayload:
    """Return a file to choose, which says that it is a picture."""
    return {"name": "picture.png", "mimeType": "image/png", "buffer": content}


@contextmanager
def started() -> Iterator[Browser]:
    """Start the browser."""
    expect.set_options(timeout=_PATIENCE_MS)
    with sync_playwright() as playwright:
        # Its own sandbox does not work for root, as tests in a container run.
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visit:
    """A page that somebody looks at.

    Attributes:
        page: The page.
        url: Base URL of its gateway.
        refused: Status codes of refusals that the test means to get.
        posted: What was sent to draw, in order.
        problems: What must not have happened.
    """

    page: Page
    url: str
    refused: set[int] = field(default_factory=set)
    posted: list[Request] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.set_default_timeout(_PATIENCE_MS)
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.page.on("request", self._on_request)
        self.page.on("response", self._on_response)

    def open(self, path: str = "/") -> "Visit":
        self.page.goto(f"{self.url}{path}")
        return self

    def field(self, label: str) -> Locator:
        return self.page.get_by_label(label, exact=True)

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def settings(self, **values: str) -> None:
        """Write settings by their labels, in lower case with underscores for spaces."""
        if self.page.locator("#more").get_attribute("open") is None:
            self.page.get_by_text("More settings").click()
        for name, value in values.items():
            self.field(name.replace("_", " ").capitalize()).fill(value)

    def choose(self, model: str) -> None:
        self.page.locator(f"input[name=model][value='{model}']").check()

    def draw(self, prompt: str = PROMPT, *, seed: str = "7", steps: str = "10") -> Image.Image:
        """Draw a picture and return it once it is there."""
        self.field("Prompt").fill(prompt)
        self.settings(seed=seed, steps=steps)
        return self.drawn(lambda: self.page.locator("#draw").click())

    def drawn(self, start: Callable[[], object]) -> Image.Image:
        """Return the picture that something makes the page draw."""
        self.finished(start)
        return self.picture()

    def finished(self, start: Callable[[], object]) -> None:
        """Do something that makes the page draw, and wait until that is in the history; a failure ends the wait."""
        failure = self.page.locator("#failure:visible")
        # An earlier one is there until the request is sent.
        is_old = failure.count() > 0
        entries = self.page.locator("#shelf li")
        entry = entries.nth(entries.count())
        start()
        (entry if is_old else entry.or_(failure).first).wait_for(timeout=_DRAWING_MS)
        assert is_old or not failure.count(), failure.inner_text()

    def picture(self, index: int = 0) -> Image.Image:
        """Return the picture on the stage."""
        self.page.locator("#shown figure .actions").nth(index).wait_for()
        image = self.page.locator("#shown img").nth(index)
        data = image.evaluate(_PIXELS)
        return Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2]))).convert("RGB")

    def expect_clean(self) -> None:
        assert not self.problems, self.problems

    def _on_console(self, message: ConsoleMessage) -> None:
        # The browser writes one of these for each answer that is a refusal; `_on_response` judges those.
        if message.type in {"error", "warning"} and not message.text.startswith("Failed to load resource: the server"):
            self.problems.append(f"console: {message.text}")

    def _on_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in {"blob", "data"} and f"{parts.scheme}://{parts.netloc}" != self.url:
            self.problems.append(f"request to {request.url}")
        if request.method == "POST" and not request.url.endswith("/load"):
            self.posted.append(request)

    def _on_response(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self.refused:
            self.problems.append(f"{response.status} from {response.url}")
