"""Entries of LocalAI's gallery become what LocalAI would install."""

from typing import Any

import pytest

from heliograph_api.documents import read_documents
from heliograph_api.errors import SpecError
from heliograph_api.gallery import LocalAIModel, base_file, is_base, is_gallery, resolve

BASE = """\
name: flux-ggml
config_file: |
  backend: stablediffusion-ggml
  step: 25
  cfg_scale: 1
  diffusers: {cuda: true, img2img: true}
  options:
  - diffusion_model
  - clip_l_path:clip_l.safetensors
  - vae_path:ae.safetensors
  - sampler:euler
files:
- {filename: ae.safetensors, uri: "hf://a/base/ae.safetensors"}
"""
ENTRY = """\
name: flux.dev
url: github:mudler/LocalAI/gallery/flux-ggml.yaml@master
license: apache-2.0
description: "  draws  "
urls: [https://example.org/card]
overrides:
  diffusers: {cuda: false}
  parameters: {model: flux.gguf}
files:
- {filename: flux.gguf, uri: "hf://a/b/flux.gguf", sha256: ""}
"""


def document(text: str) -> Any:
    (found,) = read_documents(text)
    return found


def resolved(entry: str, base: str | None = BASE) -> LocalAIModel:
    return resolve(document(entry), document(base) if base else None)


def test_an_entry_is_its_base_under_its_overrides() -> None:
    model = resolved(ENTRY)

    assert model.raw == {
        "name": "flux.dev",
        "description": "draws",
        "backend": "stablediffusion-ggml",
        "step": 25,
        "cfg_scale": 1,
        "diffusers": {"cuda": False, "img2img": True},
        "options": ["diffusion_model", "clip_l_path:clip_l.safetensors", "vae_path:ae.safetensors", "sampler:euler"],
        "parameters": {"model": "flux.gguf"},
        "download_files": [
            {"filename": "ae.safetensors", "uri": "hf://a/base/ae.safetensors"},
            {"filename": "flux.gguf", "uri": "hf://a/b/flux.gguf", "sha256": ""},
        ],
    }
    assert (model.license, model.urls) == ("apache-2.0", ("https://example.org/card",))
    assert model.changes == ["spec.download_files: what the gallery calls files"]


def test_options_of_the_base_that_name_fetched_files_are_kept() -> None:
    """LocalAI's own flux.1-dev-ggml lacks its encoders, since its options replace the base's."""
    model = resolved(ENTRY.replace("  parameters:", "  options: [scheduler:simple]\n  parameters:"))

    assert model.raw["options"] == ["diffusion_model", "vae_path:ae.safetensors", "scheduler:simple"]
    assert model.changes[0].startswith("spec.options: diffusion_model, vae_path:ae.safetensors come from the base flux")


def test_options_that_an_entry_names_itself_win() -> None:
    options = "  options: [diffusion_model, 'vae_path:other.safetensors']\n  parameters:"
    model = resolved(ENTRY.replace("  parameters:", options))

    assert model.raw["options"] == ["diffusion_model", "vae_path:other.safetensors"]


def test_an_entry_may_have_its_config_itself() -> None:
    model = resolved("name: a\nconfig_file: {backend: diffusers}\noverrides: {parameters: {model: a/b}}\n", None)

    assert model.raw == {"name": "a", "backend": "diffusers", "parameters": {"model": "a/b"}}
    assert model.changes == []


def test_a_base_is_a_model_of_its_own() -> None:
    assert resolve(document(BASE)).raw["name"] == "flux-ggml"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("github:mudler/LocalAI/gallery/flux.yaml@master", "flux.yaml"),
        ("https://example.org/gallery/sd.yaml", "sd.yaml"),
        (None, ""),
    ],
)
def test_the_base_is_known_by_its_file(url: str | None, name: str) -> None:
    assert base_file({"url": url}) == name


def test_documents_are_told_apart() -> None:
    found = [document("[{name: a, url: b}]"), document(BASE), document("[{name: a, backend: diffusers}]")]

    assert [is_gallery(each) for each in found] == [True, False, False]
    assert [is_base(each) for each in found] == [False, True, False]


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        ("overrides: [1]", "overrides"),
        ("files: {a: b}", "files"),
        ("files: [{uri: a}]", "files"),
        ("config_file: [1]", "config_file"),
        ("config_file: 'a: [1'", "manifest"),
    ],
)
def test_what_is_no_entry_is_refused(entry: str, field: str) -> None:
    with pytest.raises(SpecError) as error:
        resolved(f"name: a\n{entry}\n", None)
    assert error.value.path == field
