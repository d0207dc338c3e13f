"""Which edits of a spec need new pods, and how pods come and go."""

from typing import Any

import pytest

from heliograph_api.manifest import ImageModel
from heliograph_operator.plan.children import plan
from heliograph_operator.settings import OperatorSettings, Profile

SETTINGS = OperatorSettings(profiles={"big": Profile(node_selector={"disk": "nvme"})})
MODEL: dict[str, Any] = {
    "parameters": {"model": "tiny/model.safetensors"},
    "serving": {"replicas": 1, "cache": {"existingClaim": "weights"}},
}

WITHOUT_NEW_PODS: dict[str, dict[str, Any]] = {
    "replicas": {"serving": {"replicas": 5}},
    "disabled": {"disabled": True},
    "pinned": {"pinned": True},
    "rollout": {"serving": {"rollout": "replace"}},
    "scaling": {"serving": {"scaling": {"min": 0, "max": 3}}},
    "priority": {"serving": {"priority": 7}},
    "aliases": {"serving": {"aliases": ["dall-e-3"]}},
    "answer format": {"serving": {"responseFormat": "url"}},
    "description": {"description": "new words"},
    "usage": {"usage": "new words"},
    "use cases": {"known_usecases": ["image"]},
    "input modalities": {"known_input_modalities": ["text"]},
    "output modalities": {"known_output_modalities": ["image"]},
    "keys without effect": {"grpc": {"attempts": 3}, "mmproj": "x", "lora_base": "y"},
    "a key that nobody knows": {"stepp": 5},
    "no GPUs, said outright": {"serving": {"gpus": 0}},
    "token of a model that is there": {"serving": {"hfTokenSecretRef": {"name": "hub"}}},
}
WITH_NEW_PODS: dict[str, dict[str, Any]] = {
    "public id": {"name": "The Model"},
    "weights": {"parameters": {"model": "tiny/other.safetensors"}},
    "steps": {"step": 9},
    "negative prompt": {"parameters": {"negative_prompt": "text"}},
    "scheduler": {"diffusers": {"scheduler_type": "euler_a"}},
    "options": {"options": ["torch_compile:true"]},
    "request limits": {"serving": {"limits": {"maxImages": 2}}},
    "LocalAI's limits": {"limits": {"max_concurrent": 2}},
    "compat": {"serving": {"compat": "localai"}},
    "split prompts": {"serving": {"splitPrompt": False}},
    "resources": {"serving": {"resources": {"requests": {"cpu": "2"}}}},
    "profile": {"serving": {"profile": "big"}},
    "node selector": {"serving": {"nodeSelector": {"zone": "a"}}},
    "tolerations": {"serving": {"tolerations": [{"operator": "Exists"}]}},
    "claim": {"serving": {"cache": {"existingClaim": "others"}}},
    "folder of the claim": {"serving": {"cache": {"subPath": "x"}}},
    "concurrency group": {"concurrency_groups": ["one"]},
    "engine": {"backend": "stablediffusion-ggml"},
}


def merged(spec: dict[str, Any], edit: dict[str, Any]) -> dict[str, Any]:
    both = {key: merged(spec[key], edit[key]) for key in spec.keys() & edit.keys() if isinstance(edit[key], dict)}
    return {**spec, **edit, **both}


def deployment(spec: dict[str, Any], settings: OperatorSettings = SETTINGS) -> dict[str, Any]:
    model = ImageModel.from_object({"metadata": {"name": "m", "namespace": "n", "uid": "u"}, "spec": spec})
    children = plan(model=model, settings=settings).children
    return next(child for child in children if child["kind"] == "Deployment")


@pytest.mark.parametrize("edit", WITHOUT_NEW_PODS.values(), ids=WITHOUT_NEW_PODS)
def test_an_edit_that_needs_no_new_pod_makes_none(edit: dict[str, Any]) -> None:
    assert deployment(merged(MODEL, edit))["spec"]["template"] == deployment(MODEL)["spec"]["template"]


def test_nor_does_the_order_of_the_keys() -> None:
    spec = {**MODEL, "step": 3, "cfg_scale": 5.0}
    turned = {key: spec[key] for key in reversed(spec)}
    assert deployment(turned)["spec"]["template"] == deployment(spec)["spec"]["template"]


@pytest.mark.parametrize("edit", WITH_NEW_PODS.values(), ids=WITH_NEW_PODS)
def test_an_edit_that_changes_the_work_makes_new_pods(edit: dict[str, Any]) -> None:
    assert deployment(merged(MODEL, edit))["spec"]["template"] != deployment(MODEL)["spec"]["template"]


def test_a_new_pod_comes_before_an_old_one_goes() -> None:
    strategy = deployment(MODEL)["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


@pytest.mark.parametrize("seconds", [60, 300, 3600])
def test_a_pod_that_ends_answers_the_longest_request_that_it_may_have(seconds: int) -> None:
    pod = deployment(MODEL, OperatorSettings(runtime_request_seconds=seconds))["spec"]["template"]["spec"]
    (runtime,) = pod["containers"]
    env = {item["name"]: item["value"] for item in runtime["env"]}
    assert env["HELIOGRAPH_RUNTIME_REQUEST_TIMEOUT_SECONDS"] == str(seconds)
    farewell = runtime["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] >= seconds + farewell + 15
