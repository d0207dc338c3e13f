"""The charts, rendered by helm: what they grant, and that a real API server takes them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.control_plane import ControlPlane

ROOT = Path(__file__).resolve().parents[2]
CHARTS = ROOT / "charts"
VARIANTS = {
    "default": (),
    "clusterWide": ("--set", "clusterWide=true"),
    "namespaces": ("--set", "namespaces={default,kube-public}", "--set", "operator.replicas=2"),
    "gpu": ("--set", "runtime.gpuProfile.gpuResource=nvidia.com/gpu", "--set", "gateway.apiKeySecret.name=keys"),
}

Render = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def render(helm: Callable[..., str]) -> Render:
    def run(chart: str, *options: str, namespace: str = "default") -> list[dict[str, Any]]:
        text = helm("template", "heliograph", CHARTS / chart, "--namespace", namespace, *options)
        return [document for document in yaml.safe_load_all(text) if document]

    return run


def pods(objects: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for item in objects:
        if item["kind"] == "Deployment":
            yield item["spec"]["template"]["spec"]


@pytest.mark.parametrize("chart", ["heliograph", "heliograph-crds"])
def test_lint_finds_nothing(helm: Callable[..., str], chart: str) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", CHARTS / chart)


@pytest.mark.parametrize("variant", VARIANTS)
def test_roles_grant_no_more_than_their_parts_use(render: Render, variant: str) -> None:
    for item in render("heliograph", *VARIANTS[variant]):
        for rule in item.get("rules", ()):
            assert "*" not in [*rule["verbs"], *rule["resources"], *rule["apiGroups"]]
            assert not {"secrets", "pods", "nodes", "roles", "clusterroles"} & set(rule["resources"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_api_server_takes_every_object_in_a_restricted_namespace(
    cluster: ControlPlane, namespace: str, render: Render, variant: str
) -> None:
    cluster.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/warn=restricted")
    objects = render("heliograph", *VARIANTS[variant], namespace=namespace)
    bundle = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    answer = cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "--filename", "-", input=bundle)
    assert answer.stdout.count("created") == len(objects)
    assert "violate PodSecurity" not in answer.stderr


def test_roles_follow_the_namespaces(render: Render) -> None:
    def roles(variant: str) -> set[tuple[str, str]]:
        return {
            (item["kind"], item["metadata"].get("namespace", ""))
            for item in render("heliograph", *VARIANTS[variant])
            if item["kind"].endswith("Role") and not item["metadata"]["name"].endswith("-lease")
        }

    assert roles("default") == {("Role", "default")}
    assert roles("clusterWide") == {("ClusterRole", "")}
    assert roles("namespaces") == {("Role", "default"), ("Role", "kube-public")}


def test_api_key_comes_from_a_secret_alone(render: Render) -> None:
    gateway = next(
        pod for pod in pods(render("heliograph", *VARIANTS["gpu"])) if pod["containers"][0]["name"] == "gateway"
    )
    variables = {item["name"]: item for item in gateway["containers"][0]["env"]}
    assert variables["HELIOGRAPH_GATEWAY_API_KEY"] == {
        "name": "HELIOGRAPH_GATEWAY_API_KEY",
        "valueFrom": {"secretKeyRef": {"name": "keys", "key": "api-key"}},
    }


def test_definitions_are_the_generated_ones(render: Render) -> None:
    generated = {path.name: path.read_text() for path in (ROOT / "crds").glob("*.yaml")}
    assert generated
    assert {path.name: path.read_text() for path in (CHARTS / "heliograph-crds" / "files").glob("*.yaml")} == generated
    (definition,) = render("heliograph-crds")
    assert definition["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    (expected,) = (yaml.safe_load(text) for text in generated.values())
    assert definition["spec"] == expected["spec"]
