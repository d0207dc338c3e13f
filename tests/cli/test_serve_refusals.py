"""What `heliograph serve` says of what the system refuses."""

import errno
import os
from pathlib import Path

import pytest

from heliograph.serve import weights
from heliograph.serve.manifests import ServedModel, read_file
from heliograph.serve.weights import WeightsError, plan_served


def served(folder: Path, text: str) -> ServedModel:
    manifest = folder / "tiny.yaml"
    manifest.write_text(text)
    ((source, model),) = read_file(manifest)
    return ServedModel(model, source, folder)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EROFS, "have it owned by the user who runs this, and writable"),
        (errno.EACCES, "have it owned by the user who runs this, and writable"),
        (errno.ENOSPC, "make room there"),
        (errno.EIO, "mend that, and start it again"),
    ],
    ids=errno.errorcode.get,
)
def test_links_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(number, os.strerror(number), "target", None, "link")

    monkeypatch.setattr(weights, "link_files", refuse)
    model = served(tmp_path, "parameters: {model: a.gguf}\ndownload_files: [{filename: a.gguf, uri: file:///a.gguf}]\n")
    with pytest.raises(WeightsError) as caught:
        plan_served(model).link()
    problem = f"spec.download_files: can't be linked into {tmp_path}: {os.strerror(number)}; {remedy}"
    assert str(caught.value) == problem
