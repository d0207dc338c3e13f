"""Makes the links of the documentation work on the site that mkdocs builds of docs/.

Pages are read on GitHub too, where they link to files beside docs/, such as examples/README.md. Those files become part
of the site, under `project/`, and links from and to them are rewritten as the site needs them.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

OUTSIDE = "project"
ALWAYS = ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "examples/README.md")
"""Files of the checkout that the navigation names."""
_LINK = re.compile(r"\]\((?P<path>[^)#:\s]+)(?P<anchor>#[^)\s]*)?\)")
_ATTRIBUTE = re.compile(r'\b(?P<name>src|srcset)="(?P<path>[^":\s]+)"')
_CODE = re.compile(r"(`+)(?:(?!\1).)+?\1")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files beside docs/ that pages lead to, directly or by another of them."""
    root = _root(config)
    waiting = [root / name for name in ALWAYS]
    waiting += [target for file in files.documentation_pages() for target in _links(Path(str(file.abs_src_path)))]
    seen = set()
    while waiting:
        path = waiting.pop()
        if path in seen or not path.is_file() or _is_inside(path, config):
            continue
        seen.add(path)
        files.append(File.generated(config, _uri(path, config), abs_src_path=str(path)))
        if path.suffix == ".md":
            waiting += _links(path)
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Return a page's text with links as the site has the files, and code in tables as the site's parser reads it."""
    here = _path(page.file, config)

    def moved(path: str) -> str:
        target = _uri((here.parent / path).resolve(), config)
        return posixpath.relpath(target, posixpath.dirname(page.file.src_uri))

    def rewritten(link: re.Match[str]) -> str:
        return f"]({moved(link['path'])}{link['anchor'] or ''})"

    if not _is_inside(here, config):
        markdown = _ATTRIBUTE.sub(lambda part: f'{part["name"]}="{moved(part["path"])}"', markdown)
    return "\n".join(_bars(line) for line in _LINK.sub(rewritten, markdown).split("\n"))


def _bars(line: str) -> str:
    # GitHub takes a bar in a table's code for the end of the cell unless it is escaped; here the escape would be shown.
    return _CODE.sub(lambda code: code[0].replace(r"\|", "|"), line) if line.startswith("|") else line


def _links(document: Path) -> Iterator[Path]:
    for link in _LINK.finditer(document.read_text(encoding="utf-8")):
        yield (document.parent / link["path"]).resolve()


def _root(config: MkDocsConfig) -> Path:
    return Path(str(config.config_file_path)).resolve().parent


def _is_inside(path: Path, config: MkDocsConfig) -> bool:
    return path.is_relative_to(Path(config.docs_dir).resolve())


def _uri(path: Path, config: MkDocsConfig) -> str:
    """Return the place of a file of the checkout among the site's sources."""
    if _is_inside(path, config):
        return path.relative_to(Path(config.docs_dir).resolve()).as_posix()
    if path.is_relative_to(_root(config)):
        return f"{OUTSIDE}/{path.relative_to(_root(config)).as_posix()}"
    raise ValueError(f"{path} is linked to, and lies outside of the checkout; link to what is in it")


def _path(file: File, config: MkDocsConfig) -> Path:
    outside = file.src_uri.removeprefix(f"{OUTSIDE}/")
    return _root(config) / outside if outside != file.src_uri else Path(str(file.abs_src_path)).resolve()
