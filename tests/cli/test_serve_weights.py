"""`heliograph serve` fetches what its models lack, from a hub and a host of files on the loopback."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from cli.serving import Serving
from runtime.file_host import FileHost, file_host
from runtime.hub_host import add_repository

Start = Callable[..., Serving]


@pytest.fixture
def host() -> Iterator[FileHost]:
    with file_host() as running:
        yield running


@pytest.fixture
def environment(host: FileHost) -> dict[str, str]:
    return {"HF_ENDPOINT": host.url(""), "HF_HUB_OFFLINE": "0"}


def tiny(root: Path) -> dict[str, bytes]:
    folder = root / "examples" / "tiny-model" / "model"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write(folder: Path, name: str, model: str, **more: object) -> Path:
    folder.mkdir(exist_ok=True)
    manifest = folder / f"{name}.yaml"
    diffusers = {"pipeline_type": "StableDiffusionPipeline"}
    manifest.write_text(yaml.safe_dump({"name": name, "parameters": {"model": model}, "diffusers": diffusers, **more}))
    return manifest


def test_weights_are_fetched_once(
    start_serve: Start, host: FileHost, environment: dict[str, str], root: Path, tmp_path: Path
) -> None:
    """One model is from a hub, one from beside it, one is not to be had; the next run asks nobody."""
    add_repository(host, "shapes/tiny", tiny(root))
    models = tmp_path / "models"
    write(models, "tiny", "shapes/tiny")
    write(models, "again", f"file://{root}/examples/tiny-model/model")
    write(models, "missing", "shapes/none")
    serving = start_serve(models, "--port", "0", env=environment)
    serving.wait_ready()

    assert "The weights of tiny are fetched" in serving.output
    assert serving.answers()
    failure = next(line for line in serving.output.splitlines() if line.startswith("Error: missing"))
    assert "spec.parameters.model: there is no" in failure
    assert "shapes/none" in failure
    assert "(models: again, tiny)" in serving.output
    serving.leash.stop()
    (models / "missing.yaml").unlink()
    asked = len(host.seen)

    again = start_serve(models, "--port", "0", env=environment)
    again.wait_ready()

    assert again.answers()
    assert "are fetched" not in again.output
    assert len(host.seen) == asked


def test_files_that_localai_downloads_lie_where_it_says(
    start_serve: Start, host: FileHost, environment: dict[str, str], root: Path, tmp_path: Path
) -> None:
    """And beside them what the user put there."""
    models, files = tmp_path / "models", tiny(root)
    host.files |= {f"/{path}": content for path, content in files.items()}
    kept = "shapes/model_index.json"
    (models / "shapes").mkdir(parents=True)
    (models / kept).write_bytes(files["model_index.json"])
    downloads = [{"filename": f"shapes/{path}", "uri": host.url(f"/{path}")} for path in files]
    serving = start_serve(write(models, "tiny", "shapes", download_files=downloads), "--port", "0", env=environment)
    serving.wait_ready()

    assert serving.answers()
    found = {str(path.relative_to(models / "shapes")) for path in (models / "shapes").rglob("*") if path.is_file()}
    assert found == set(files)
    assert not (models / kept).is_symlink()
    assert not any(path == "/model_index.json" for path, _, _ in host.seen)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("ollama://sdxl", "spec.parameters.model: the source ollama:// holds language models"),
        ("pvc://claim/model", "spec.parameters.model: pvc:// names a claim of a cluster"),
        ("file:///nowhere/model.safetensors", "spec.parameters.model: there is no file /nowhere/model.safetensors"),
    ],
)
def test_sources_that_are_refused(start_serve: Start, tmp_path: Path, model: str, told: str) -> None:
    serving = start_serve(write(tmp_path, "tiny", model), "--port", "0", env=dict(os.environ))

    assert serving.leash.wait(timeout=120) == 1
    assert f"Error: tiny could not be loaded: {told}" in serving.output
    assert "Traceback" not in serving.output
