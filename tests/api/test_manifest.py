"""Manifests as people write them."""

import json
from typing import Any

import pytest

from heliograph_api.errors import SpecError
from heliograph_api.manifest import ImageModel, read_manifests

ENVELOPE = {"apiVersion": "heliograph.dev/v1alpha1", "kind": "ImageModel", "metadata": {"name": "flux.1-dev"}}
SPEC = {"parameters": {"model": "black-forest-labs/FLUX.1-dev"}}


def read(text: str) -> ImageModel:
    (model,) = read_manifests(text, default_name="my file")
    return model


def test_an_object_of_the_api_server() -> None:
    metadata = {"name": "flux.1-dev", "namespace": "images", "uid": "b4e6", "generation": 7}
    model = ImageModel.from_object({**ENVELOPE, "metadata": metadata, "spec": {**SPEC, "stepp": 3}, "status": {}})
    assert (model.name, model.namespace, model.uid, model.generation) == ("flux.1-dev", "images", "b4e6", 7)
    assert model.spec.model == "black-forest-labs/FLUX.1-dev"
    assert model.raw_spec == {**SPEC, "stepp": 3}


def test_an_object_of_a_newer_version_is_still_read() -> None:
    """The API server keeps only what its schema has; a key more than that is of a newer one."""
    model = ImageModel.from_object({**ENVELOPE, "spec": {**SPEC, "serving": {"replicas": 2, "newer": {"a": 1}}}})
    assert model.spec.serving.replicas == 2


@pytest.mark.parametrize(
    ("name", "aliases", "model_id", "routes"),
    [
        (None, None, "flux.1-dev", ["flux.1-dev"]),
        ("", [], "flux.1-dev", ["flux.1-dev"]),
        ("Black-Forest/FLUX.1", None, "Black-Forest/FLUX.1", ["Black-Forest/FLUX.1", "flux.1-dev"]),
        ("flux.1-dev", ["gpt-image-1"], "flux.1-dev", ["flux.1-dev", "gpt-image-1"]),
        ("a", ["b", "a", "flux.1-dev"], "a", ["a", "flux.1-dev", "b"]),
    ],
)
def test_every_name_is_a_route(name: str | None, aliases: list[str] | None, model_id: str, routes: list[str]) -> None:
    given = {"name": name, "serving": {"aliases": aliases} if aliases else {}}
    model = ImageModel.from_object({**ENVELOPE, "spec": {**SPEC, **given}})
    assert model.model_id == model_id
    assert model.routes == routes


def test_json_is_a_manifest_too() -> None:
    assert read(json.dumps({**ENVELOPE, "spec": SPEC})).spec.model == "black-forest-labs/FLUX.1-dev"


def test_a_text_may_hold_models_of_both_kinds() -> None:
    text = (
        f"{json.dumps({**ENVELOPE, 'spec': SPEC})}\n---\nparameters: {{model: a/b}}\n---\n- {{alias: c}}\n- alias: d\n"
    )
    names = [model.name for model in read_manifests(text, default_name="file")]
    assert names == ["flux.1-dev", "file", "file", "file"]


def test_a_list_of_localai_models() -> None:
    text = "- name: a\n  parameters: {model: x/y}\n- name: b\n  alias: a\n"
    assert [model.name for model in read_manifests(text, default_name="models")] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "object_name"),
    [
        ("flux.1-dev", "flux.1-dev"),
        ("Stability-AI/SDXL_Turbo v1", "stability-ai-sdxl-turbo-v1"),
        ("..a..b..", "a.b"),
        ("a.-b-.c", "a.b.c"),
        ("___", "model"),
        ("日本", "model"),
        ("x" * 300, "x" * 253),
        ("x" * 252 + ".y", "x" * 252),
        (5, "5"),
    ],
)
def test_a_localai_name_becomes_a_valid_object_name(name: Any, object_name: str) -> None:
    text = json.dumps({"name": name, **SPEC}) if isinstance(name, str) else json.dumps({"name": str(name), **SPEC})
    assert read(text).name == object_name
    assert read(text).model_id == str(name)


def test_a_localai_model_without_a_name_is_named_after_its_file() -> None:
    assert read(json.dumps(SPEC)).name == "my-file"


@pytest.mark.parametrize(
    ("text", "path", "problem"),
    [
        ("just text", "manifest", "must be an object of keys and values, not str"),
        ("- [a]", "manifest", "must be an object of keys and values, not list"),
        ("apiVersion: v1\nkind: Secret", "kind", "v1 Secret is not served here"),
        ("kind: ImageModel", "kind", "write apiVersion: heliograph.dev/v1alpha1"),
        (json.dumps({**ENVELOPE, "metadata": "flux"}), "metadata.name", "is required"),
        (json.dumps({**ENVELOPE, "metadata": ["flux"]}), "metadata.name", "is required"),
        (json.dumps({**ENVELOPE, "metadata": {"name": "a\n"}}), "metadata.name", "must have lower-case letters"),
        (json.dumps({**ENVELOPE}), "spec", "is required"),
        (json.dumps({**ENVELOPE, "spec": None}), "spec", "is required"),
        (json.dumps({**ENVELOPE, "spec": False}), "spec", "must be an object"),
        (json.dumps({**ENVELOPE, "spec": {}}), "spec.parameters", "parameters.model is required"),
        ("name: 5\nalias: a", "spec.name", "must be a string, not the number 5; put it in quotes"),
    ],
)
def test_what_is_no_manifest_is_refused(text: str, path: str, problem: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(text)
    assert caught.value.path == path
    assert problem in caught.value.problem
