"""What the documents tell readers to type does what they say."""

from pathlib import Path

import pytest

from docs.administrator import Administrator
from docs.blocks import ROOT, Block, all_blocks, blocks_in, blocks_run_by, blocks_run_here
from docs.reader import ADDRESS, Reader, server_of

DOCUMENTS = list(dict.fromkeys(block.document for block in blocks_run_here()))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_blocks_of(document: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Each block without a mark, in order, on one machine or, where it asks a cluster, on a real control plane."""
    blocks = [block for block in blocks_run_here(files=True) if block.document == document]
    reader = Reader(tmp_path)
    if any(ADDRESS.search(block.text) or "$GATEWAY" in block.text or server_of(block) for block in blocks):
        reader.url = request.getfixturevalue("served")
    try:
        if any(block.asks_a_cluster for block in blocks):
            _administer(request.getfixturevalue("administrator"), reader, blocks)
        else:
            _follow(reader, blocks)
    finally:
        reader.close()


def _follow(reader: Reader, blocks: list[Block]) -> None:
    for block in blocks:
        if server_of(block) != "make run":  # which `served` has run
            reader.follow(block)


def _administer(cluster: Administrator, reader: Reader, blocks: list[Block]) -> None:
    """Follow a document in a cluster, where most of them find Heliograph installed."""
    reader.programs, reader.variables = cluster.programs, cluster.variables
    if not _installs(next(block for block in blocks if block.asks_a_cluster)):
        cluster.install()
    for block in blocks:
        _follow(reader, [block])
        if _installs(block):
            cluster.play_first_key()


def _installs(block: Block) -> bool:
    return "helm upgrade --install heliograph " in block.text


def test_marks_say_who_or_why() -> None:
    for block in all_blocks():
        if block.kind != "run by":
            continue
        tests = ROOT / block.value
        modules = [tests] if tests.is_file() else sorted(tests.glob("*.py"))
        asks = f'blocks_run_by("{block.value}")'
        assert any(asks in module.read_text() for module in modules), f"{block.place}: nobody calls {asks}"
        assert block in blocks_run_by(block.value)


def test_every_block_that_can_be_run_is_collected() -> None:
    """A shell block without a mark is run, whatever it holds; so nothing new can stay unrun in silence."""
    text = "a\n```sh\necho 1\n```\n- b\n\n  ```console\n  echo 2\n  ```\n"
    text += "<!-- not run: needs a GPU -->\n```sh\necho 3\n```\n"
    blocks = blocks_in(text, "x.md")

    assert [(block.line, block.text, block.kind) for block in blocks] == [
        (2, "echo 1\n", ""), (7, "echo 2\n", ""), (11, "echo 3\n", "not run"),
    ]  # fmt: skip
    assert blocks[2].value == "needs a GPU"
    assert sum(block.is_code and not block.kind for block in blocks) == 2


@pytest.mark.parametrize("mark", ["not run", "not run:", "run by:", "not-run: a reason", "file"])
def test_a_mark_without_its_reason_is_an_error(mark: str) -> None:
    with pytest.raises(ValueError, match=r"x\.md:2: '.*' is no mark"):
        blocks_in(f"<!-- {mark} -->\n```sh\necho\n```\n", "x.md")


def test_a_comment_elsewhere_is_no_mark() -> None:
    (block,) = blocks_in("<!-- not run: a reason -->\n\nText\n\n```sh\necho\n```\n", "x.md")

    assert not block.kind
