"""What `heliograph serve` says of what the system refuses."""

import asyncio
import errno
import os
import socket
from pathlib import Path

import click
import pytest

from heliograph.serve import weights
from heliograph.serve.manifests import ManifestError, ServedModel, collect, read_file
from heliograph.serve.progress import PlainReport
from heliograph.serve.session import Session, Wiring
from heliograph.serve.supervisor import Supervisor
from heliograph.serve.weights import WeightsError, must_fetch, plan_served
from heliograph_gateway.routing import RoutingTable
from heliograph_gateway.settings import GatewaySettings
from heliograph_runtime.weights.volume import Receipt


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


def test_a_volume_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that root made, say; the model alone is refused for it."""
    path = tmp_path / ".heliograph"

    def refuse(_folder: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Receipt, "read", refuse)
    model = served(tmp_path, "parameters: {model: owner/model}\n")
    with pytest.raises(WeightsError) as caught:
        _ = plan_served(model).lacking
    problem = "Permission denied; have it owned by the user who runs this, and writable"
    assert str(caught.value) == f"{path} cannot be used: {problem}"
    assert not must_fetch(model)


def test_a_path_that_is_too_long(tmp_path: Path) -> None:
    model = served(tmp_path, f"parameters: {{model: {'a' * 300}.gguf}}\n")
    with pytest.raises(WeightsError, match=r"^spec\.parameters\.model: .* File name too long; write a shorter path$"):
        plan_served(model)
    assert not must_fetch(model)


def test_a_folder_of_manifests_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_folder: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(ManifestError, match="cannot be read: Permission denied; have it owned"):
        collect([tmp_path], models_dir=None, warn=print)


def test_no_folder_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/x")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with socket.socket() as listener, pytest.raises(click.ClickException) as caught:
        Session([], Wiring(GatewaySettings(), listener, PlainReport(), verbose=False))
    problem = "the runtimes' manifests: /tmp/x cannot be used: No space left on device; make room there"
    assert str(caught.value) == f"{problem}; TMPDIR names another folder for temporary files"


def loaded(manifest: Path, *, folder: Path) -> bool:
    """Tell whether the supervisor of a model loads it; an error that came out of one would end the others with it."""

    async def session() -> bool:
        ((source, model),) = read_file(manifest)
        supervisor = Supervisor(
            ServedModel(model, source, source.parent),
            folder=folder, table=RoutingTable(), report=PlainReport(), verbose=False,
        )  # fmt: skip
        async with asyncio.timeout(60):
            await supervisor.run()
        return supervisor.loaded.result()

    return asyncio.run(session())


def test_a_manifest_that_cannot_be_written_fails_its_model_alone(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "file"
    folder.touch()
    assert not loaded(root / "examples" / "tiny.yaml", folder=folder)
    assert f"{folder}/tiny" in capsys.readouterr().err


def test_a_folder_that_somebody_else_made_gets_no_manifest(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    assert not loaded(root / "examples" / "tiny.yaml", folder=tmp_path)
    assert f"{tmp_path} cannot be used: File exists; move away what is there" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
