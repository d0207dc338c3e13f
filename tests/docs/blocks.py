"""The code blocks of the documentation, and who runs each.

Every shell block of README.md, CONTRIBUTING.md, examples/README.md and docs/*.md is run by a test, and so are those in
Python and JavaScript. An HTML comment right before a block, which readers do not see, says otherwise:

- `<!-- not run: REASON -->`: no test runs it;
- `<!-- run by: PATH -->`: the tests of that folder or file do, which take it from `blocks_run_by(PATH)`;
- `<!-- file: NAME -->`: it is no command but a file, which blocks of the same document find under that name.

All others are run by test_blocks.py, in their order.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHELL = ("sh", "bash", "console", "shell")
LANGUAGES = (*SHELL, "python", "js", "javascript", "mjs")

_FENCE = re.compile(
    r"(?:^ *<!-- (?P<mark>[^\n]*?) -->\n)?^(?P<indent> *)(?P<fence>```+)(?P<language>[\w.+-]*)[^\n]*\n"
    r"(?P<text>.*?)^(?P=indent)(?P=fence)$",
    re.DOTALL | re.MULTILINE,
)
_MARK = re.compile(r"(?P<kind>not run|run by|file): (?P<value>\S.*)")
_CLUSTER = re.compile(r"(^|[|&;(] *)(kubectl|helm) ", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        document: Path of its document in the checkout, such as `docs/keys.md`.
        line: Line of the document on which it begins.
        language: What stands behind its fence.
        text: What it holds, ended by a line break.
        kind: Kind of its mark, `not run`, `run by` or `file`; empty without one.
        value: What its mark says behind the colon.
    """

    document: str
    line: int
    language: str
    text: str
    kind: str = ""
    value: str = ""

    @property
    def place(self) -> str:
        return f"{self.document}:{self.line}"

    @property
    def is_code(self) -> bool:
        """Whether it is something to be run."""
        return self.language in LANGUAGES and self.kind != "file"

    @property
    def asks_a_cluster(self) -> bool:
        return self.language in SHELL and bool(_CLUSTER.search(self.text))


def documents(root: Path = ROOT) -> list[Path]:
    """Return the documents whose blocks are run; what a page is generated from is not one, since the page is."""
    found = [root / "README.md", root / "CONTRIBUTING.md", root / "examples" / "README.md"]
    found += sorted(path for path in (root / "docs").glob("*.md") if not path.name.endswith(".template.md"))
    return found


def blocks_in(text: str, document: str) -> list[Block]:
    """Return the code blocks of a document's text, in their order.

    Raises:
        ValueError: When a comment before a block looks like a mark and is none.
    """
    found = []
    for fence in _FENCE.finditer(text):
        block = Block(
            document=document,
            line=text.count("\n", 0, fence.start("fence")) + 1,
            language=fence["language"],
            text=re.sub(rf"^{fence['indent']}", "", fence["text"], flags=re.MULTILINE),
        )
        mark = _MARK.fullmatch(fence["mark"] or "")
        if fence["mark"] and not mark and re.match(r"(not[ -]?run|run|file)\b", fence["mark"]):
            raise ValueError(
                f"{block.place}: '{fence['mark']}' is no mark; write 'not run: REASON', 'run by: PATH' or 'file: NAME'"
            )
        if mark:
            block = Block(block.document, block.line, block.language, block.text, mark["kind"], mark["value"])
        found.append(block)
    return found


@cache
def all_blocks(root: Path = ROOT) -> tuple[Block, ...]:
    """Return the code blocks of all documents, in their order."""
    return tuple(
        block
        for path in documents(root)
        for block in blocks_in(path.read_text(encoding="utf-8"), path.relative_to(root).as_posix())
    )


def blocks_run_by(tests: str) -> list[Block]:
    """Return the blocks that are marked `run by: TESTS`, such as `tests/node`, in the order of the documents."""
    return [block for block in all_blocks() if (block.kind, block.value) == ("run by", tests)]


def blocks_run_here(*, files: bool = False) -> list[Block]:
    """Return the blocks without a mark, which test_blocks.py runs; with `files`, those too that they find as files."""
    return [block for block in all_blocks() if (block.is_code and not block.kind) or (files and block.kind == "file")]
