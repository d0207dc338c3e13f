"""`heliograph import` as a user calls it."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.control_plane import ControlPlane

Cli = Callable[..., subprocess.CompletedProcess[str]]

DREAM = "name: Dream 8\nbackend: diffusers\nparameters: {model: owner/dream}\nstepp: 3\n"
CHAT = "name: gpt-4\nbackend: llama-cpp\nparameters: {model: chat.gguf}\n"
INDEX = """\
- name: flux-q4
  url: github:mudler/LocalAI/gallery/flux-ggml.yaml@master
  license: apache-2.0
  urls: [https://example.org/flux]
  overrides: {parameters: {model: flux.gguf}}
  files: [{filename: flux.gguf, uri: "hf://owner/flux/flux.gguf"}]
- name: sdxl
  url: github:mudler/LocalAI/gallery/virtual.yaml@master
  overrides: {backend: diffusers, parameters: {model: owner/sdxl}}
- name: chat
  url: github:mudler/LocalAI/gallery/chatml.yaml@master
  overrides: {backend: llama-cpp, parameters: {model: chat.gguf}}
"""
BASE = "name: flux-ggml\nconfig_file: |\n  backend: stablediffusion-ggml\n  step: 25\n  options: [diffusion_model]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A models folder of LocalAI's."""
    models = tmp_path / "models"
    models.mkdir()
    (models / "dream.yaml").write_text(DREAM)
    (models / "chat.yaml").write_text(CHAT)
    (models / "alias.yaml").write_text("name: dream\nalias: Dream 8\n---\nname: gpt\nalias: gpt-4\n")
    (models / "._gallery_dream.yaml").write_text("name: dream\nconfig_file: ''\n")
    (models / "notes.txt").write_text("no model")
    return models


def objects(text: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(text) if document]


def test_a_models_folder_becomes_imagemodels(cli: Cli, folder: Path) -> None:
    done = cli("import", folder)

    assert done.returncode == 0
    alias, dream = objects(done.stdout)
    assert [alias["metadata"]["name"], dream["metadata"]["name"]] == ["dream", "dream-8"]
    assert dream["spec"] == yaml.safe_load(DREAM)
    comments = [line for line in done.stdout.partition("name: dream-8")[0].splitlines() if line.startswith("# ")]
    assert comments[1:] == [
        f"# From {folder / 'dream.yaml'}.",
        "# Changed:",
        "# - metadata.name: 'Dream 8' is no name of an object; spec.name still is what requests ask for",
        "# To know:",
        "# - spec.stepp: is not a known key and has no effect; did you mean spec.step?",
    ]
    assert done.stderr.splitlines() == [
        f"dream ({folder / 'alias.yaml'}): as it is",
        f"dream-8 ({folder / 'dream.yaml'}): 1 change, 1 note",
        "Left out, since nothing says that they draw (alias of gpt-4): gpt",
        "Left out, since nothing says that they draw (llama-cpp): gpt-4",
        "2 models imported",
    ]


def test_a_file_is_written_for_each_model(cli: Cli, folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "made"
    options = ("--output", target, "--namespace", "art", "--profile", "large")
    first = cli("import", folder, *options)

    assert (first.returncode, first.stdout) == (0, "")
    assert sorted(path.name for path in target.iterdir()) == ["dream-8.yaml", "dream.yaml"]
    (made,) = objects((target / "dream-8.yaml").read_text())
    assert made["metadata"]["namespace"] == "art"
    assert made["spec"]["serving"] == {"profile": "large"}
    assert cli("import", folder, *options).returncode == 0

    (target / "dream.yaml").write_text("mine")
    refused = cli("import", folder, *options)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"Error: --output: {target / 'dream.yaml'} is there already, and differs; move it")
    assert (target / "dream.yaml").read_text() == "mine"


def test_a_folder_that_cannot_be_written_to_is_named(cli: Cli, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "made").write_text("a file")
    done = cli("import", folder, "--output", tmp_path / "made" / "below")

    assert done.returncode == 1
    assert done.stderr == f"Error: --output: {tmp_path / 'made' / 'below'} cannot be written to: Not a directory\n"


def test_a_check_writes_nothing(cli: Cli, folder: Path, tmp_path: Path) -> None:
    done = cli("import", folder, "--check", "--output", tmp_path / "made")

    assert (done.returncode, done.stdout) == (0, "")
    assert not (tmp_path / "made").exists()
    assert done.stderr.splitlines()[-1] == "2 models imported"


def test_a_gallery_is_read_with_its_bases(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "index.yaml").write_text(INDEX)
    (tmp_path / "flux-ggml.yaml").write_text(BASE)
    done = cli("import", tmp_path / "index.yaml", tmp_path / "flux-ggml.yaml")

    assert done.returncode == 0
    flux, sdxl = objects(done.stdout)
    assert flux["spec"] == {
        "name": "flux-q4",
        "backend": "stablediffusion-ggml",
        "step": 25,
        "options": ["diffusion_model"],
        "parameters": {"model": "flux.gguf"},
        "download_files": [{"filename": "flux.gguf", "uri": "hf://owner/flux/flux.gguf"}],
    }
    assert f"# From {tmp_path / 'index.yaml'}, entry flux-q4.\n" in done.stdout
    assert "# Licence, as the gallery has it: apache-2.0; see https://example.org/flux\n" in done.stdout
    assert sdxl["spec"]["parameters"] == {"model": "owner/sdxl"}


def test_a_missing_base_is_named(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "index.yaml").write_text(INDEX)
    done = cli("import", tmp_path / "index.yaml")

    assert done.returncode == 1
    assert [made["metadata"]["name"] for made in objects(done.stdout)] == ["sdxl"]
    assert "Left out: flux-q4: name the base flux-ggml.yaml of LocalAI's gallery folder too" in done.stderr


def test_what_can_be_imported_is_even_if_others_cannot(cli: Cli, tmp_path: Path) -> None:
    not_yaml = "manifest: is not valid YAML in line 2, column 1: expected ',' or ']', but got '<stream end>'"
    bad, broken, binary = tmp_path / "bad.yaml", tmp_path / "broken.yaml", tmp_path / "weights.yaml"
    bad.write_text(f"step: -1\n{DREAM}---\n{DREAM}---\napiVersion: v1\nkind: Pod\n---\njust text\n")
    broken.write_text("a: [1\n")
    binary.write_bytes(b"\xff\xfe")
    done = cli("import", bad, broken, binary)

    assert done.returncode == 1
    assert len(objects(done.stdout)) == 1
    assert [line for line in done.stderr.splitlines() if line.startswith("Left out")] == [
        f"Left out: {broken}: {not_yaml}",
        f"Left out: {binary}: is not text in UTF-8; name a YAML file",
        f"Left out: {bad}: spec.step: must be at least 0, not -1",
        f"Left out: {bad}: kind: Pod is no LocalAI model; give it to kubectl as it is",
        f"Left out: {bad}: must be a LocalAI model, an object of keys and values",
    ]
    assert "Traceback" not in done.stderr


def test_two_models_of_one_id_and_two_of_one_object_name(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text("---\n".join(DREAM.replace("Dream 8", name) for name in ("Dream 8", "dream 8", "Dream 8")))
    done = cli("import", path)

    assert done.returncode == 1
    assert [made["metadata"]["name"] for made in objects(done.stdout)] == ["dream-8", "dream-8-2"]
    assert "# - metadata.name: dream-8-2, since another model's is dream-8\n" in done.stdout
    assert f"Left out: {path}: name: Dream 8 is the model of {path} too; rename one" in done.stderr


def test_control_characters_reach_neither_terminal_nor_comments(cli: Cli, tmp_path: Path) -> None:
    chat = '- {name: "\\e[31mred", url: virtual.yaml, overrides: {backend: llama-cpp}}\n'
    dream = f'- name: a\n  license: "x\\u2028y: z\\e[0m"\n  config_file: {{{", ".join(DREAM.splitlines()[1:3])}}}\n'
    (tmp_path / "index.yaml").write_text(chat + dream)
    done = cli("import", tmp_path)

    assert done.returncode == 0
    assert "# Licence, as the gallery has it: x y: z [0m\n" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert len(objects(done.stdout)) == 1


def test_nothing_imported_is_a_failure(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "chat.yaml").write_text(CHAT)
    done = cli("import", tmp_path)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == "0 models imported"


def test_the_api_server_takes_what_is_made(
    cli: Cli, imagemodels: ControlPlane, namespace: str, folder: Path, tmp_path: Path
) -> None:
    (folder / "index.yaml").write_text(INDEX)
    (folder / "flux-ggml.yaml").write_text(BASE)
    made = cli("import", folder, "--namespace", namespace, "--claim", "models")
    arguments = ("create", "--dry-run=server", "--validate=strict", "--filename", "-")
    answer = imagemodels.kubectl(*arguments, input=made.stdout.replace("  stepp: 3\n", ""))

    assert made.returncode == 0
    assert answer.stdout.count("created") == 4
