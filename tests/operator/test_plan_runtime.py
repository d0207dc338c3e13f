"""What a runtime is told: a manifest that it can read, and a command line that takes every value as it is."""

import json
from typing import Any

from heliograph_api.manifest import ImageModel, read_manifests
from heliograph_operator.plan.runtime import runtime_args, runtime_manifest


def image_model(**spec: Any) -> ImageModel:
    return ImageModel.from_object({"metadata": {"name": "m", "namespace": "n", "uid": "u"}, "spec": spec})


def test_the_manifest_reads_back_as_the_same_model() -> None:
    told = {"compat": "localai", "limits": {"maxImages": 2}, "splitPrompt": False}
    serving = {**told, "replicas": 3, "aliases": ["x"], "gpus": 0}
    spec = {"name": "The Model", "parameters": {"model": "a/b", "top_k": 3}, "step": 7, "limits": {}}
    model = image_model(**spec, serving=serving, description="d", usage="u", disabled=True, pinned=True, odd=[1])
    (read,) = read_manifests(json.dumps(runtime_manifest(model)), default_name="other")
    assert (read.namespace, read.name, read.model_id) == ("n", "m", "The Model")
    assert read.raw_spec == {**spec, "serving": told}
    assert read.spec.request_limits.max_images == 2


def test_a_model_without_serving_has_none() -> None:
    assert "serving" not in runtime_manifest(image_model(parameters={"model": "a/b"}))["spec"]
    assert "serving" not in runtime_manifest(image_model(parameters={"model": "a/b"}, serving={"replicas": 1}))["spec"]


def test_the_arguments_hold_each_value_as_one() -> None:
    args = runtime_args(manifest="/a b/$(x).json", models_dir="/m;rm", host="::1", port=1)
    assert args == ["--manifest", "/a b/$(x).json", "--models-dir", "/m;rm", "--host", "::1", "--port", "1"]
