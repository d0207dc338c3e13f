"""The commands of the documents that take a cluster with a node."""

from pathlib import Path

import pytest
from PIL import Image

from docs.blocks import blocks_run_by
from docs.reader import Reader
from node.release import Release
from pictures import Content, classify

DOCUMENTS = sorted({block.document for block in blocks_run_by("tests/node")})


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_blocks_of(document: str, tiny: Release, tmp_path: Path) -> None:
    programs, folder = tmp_path / "programs", tmp_path / "reader"
    programs.mkdir()
    folder.mkdir()
    (programs / "kubectl").symlink_to(tiny.kubectl.program)
    reader = Reader(folder, programs=programs, variables={"KUBECONFIG": str(tiny.kubectl.kubeconfig)})
    reader.open(document)
    for block in blocks_run_by("tests/node"):
        if block.document == document:
            reader.follow(block)
    for picture in folder.glob("*.png"):
        with Image.open(picture) as image:
            assert classify(image) == Content("red", "circle", "white")
    tiny.kubectl.delete("pod/client")
