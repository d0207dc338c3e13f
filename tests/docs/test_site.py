"""The documentation as a site: it is built strictly, its links lead somewhere, and it needs no other host."""

import functools
import http.server
import os
import subprocess
import sys
from contextlib import AbstractContextManager
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Request

from cluster.http_server import running
from docs.blocks import documents
from ui.browsers import started

LOADED = {
    "script": ("src",), "link": ("href",), "img": ("src", "srcset"), "source": ("src", "srcset"),
    "iframe": ("src",), "video": ("src",), "object": ("data",),
}  # fmt: skip
"""Attributes by which a page has something loaded without being asked."""


class _References(HTMLParser):
    """Collects what a page loads and what it links to, and the names of its parts."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[str] = []
        self.parts: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attrs if value}
        self.loaded += [
            given[name] for name in LOADED.get(tag, ()) if name in given and given.get("rel") != "canonical"
        ]
        if tag == "a" and "href" in given:
            self.linked.append(given["href"])
        self.parts |= {given[name] for name in ("id", "name") if name in given}


@pytest.fixture(scope="module")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=root,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, _References]:
    """What each page of the site refers to."""
    return {page: _References(page) for page in site.rglob("*.html")}


def test_every_document_is_a_page(root: Path, site: Path) -> None:
    for document in documents():
        inside = document.is_relative_to(root / "docs")
        place = document.relative_to(root / "docs" if inside else root).with_suffix(".html")
        page = site / ("" if inside else "project") / place.with_name(place.name.replace("README", "index"))
        assert page.is_file(), f"{document} is no page of the site"
    assert not list(site.glob("*.template*"))
    assert not list(site.glob("*.py"))


def test_nothing_is_loaded_from_elsewhere(pages: dict[Path, _References]) -> None:
    foreign = {url for page in pages.values() for url in page.loaded if urlsplit(url).netloc}

    assert foreign == set()


def test_links_lead_somewhere(site: Path, pages: dict[Path, _References]) -> None:
    """Those in HTML too, of which mkdocs knows nothing."""
    broken = []
    for page, references in pages.items():
        for url in [*references.loaded, *references.linked]:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc or page.name == "404.html":
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            found = target.is_file() and (
                not parts.fragment or target.suffix != ".html" or unquote(parts.fragment) in pages[target].parts
            )
            if not found:
                broken.append(f"{page.relative_to(site)}: {url}")

    assert broken == []


def test_marks_and_bars_are_not_shown(site: Path) -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in site.glob("*.html"))

    assert "not run:" not in _shown(text)
    assert r"\|" not in _shown((site / "keys.html").read_text(encoding="utf-8"))


def test_a_browser_reads_and_searches_it_and_asks_no_other_host(site: Path) -> None:
    with _served(site) as url, started() as browser:
        page = browser.new_page()
        asked: list[str] = []

        def note(request: Request) -> None:
            asked.append(request.url)

        page.on("request", note)
        page.goto(f"{url}/index.html")
        page.get_by_role("link", name="First model").first.click()
        page.get_by_role("heading", name="Ask it").wait_for()
        page.goto(f"{url}/index.html?q=RolloutBlocked")
        page.locator(".md-search-result__item a").first.wait_for()

    assert len(asked) > 5
    assert [other for other in asked if not other.startswith((f"{url}/", "data:", f"blob:{url}"))] == []


def _shown(html: str) -> str:
    """Return the text of a page, without what is in comments."""
    found: list[str] = []

    class Text(HTMLParser):
        def handle_data(self, data: str) -> None:
            found.append(data)

    Text().feed(html)
    return "".join(found)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as its base calls it
        """Say nothing."""


def _served(folder: Path) -> AbstractContextManager[str]:
    handler = functools.partial(_Quiet, directory=str(folder))
    return running(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
