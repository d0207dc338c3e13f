"""The charts, rendered by helm: what they grant, and that a real API server takes them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.control_plane import ControlPlane
from heliograph_gateway.settings import GatewaySettings

ROOT = Path(__file__).resolve().parents[2]
CHARTS = ROOT / "charts"
VARIANTS = {
    "default": (),
    "clusterWide": ("--set", "clusterWide=true"),
    "namespaces": ("--set", "namespaces={default,kube-public}", "--set", "operator.replicas=2"),
    "gpu": ("--set", "runtime.gpuProfile.gpuResource=nvidia.com/gpu", "--set", "gateway.apiKeySecret.name=keys"),
    "claim": (
        *("--set", "gateway.data.existingClaim=kept", "--set", "gateway.data.size=2Gi"),
        *("--set", "gateway.signingKeySecret.name=links", "--set", "gateway.externalUrl=https://images.example.org"),
        *(
            "--set",
            "gateway.imageUrl.hosts={*.example.org,cdn.test:8443}",
            "--set",
            "gateway.imageUrl.privateHosts={minio}",
        ),
    ),
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


def gateway_pod(render: Render, variant: str) -> dict[str, Any]:
    return next(
        pod for pod in pods(render("heliograph", *VARIANTS[variant])) if pod["containers"][0]["name"] == "gateway"
    )


def variables(pod: dict[str, Any]) -> dict[str, Any]:
    return {item["name"].removeprefix("HELIOGRAPH_GATEWAY_"): item for item in pod["containers"][0]["env"]}


def test_keys_come_from_secrets_alone(render: Render) -> None:
    def reference(variant: str, name: str) -> object:
        return variables(gateway_pod(render, variant))[name]["valueFrom"]

    assert reference("gpu", "API_KEY") == {"secretKeyRef": {"name": "keys", "key": "api-key"}}
    assert reference("claim", "SIGNING_KEY") == {"secretKeyRef": {"name": "links", "key": "signing-key"}}


def test_the_gateway_keeps_its_data_in_the_pod_or_in_a_claim(render: Render) -> None:
    def volume(variant: str) -> dict[str, Any]:
        pod = gateway_pod(render, variant)
        folder = variables(pod)["DATA_DIR"]["value"]
        (mount,) = (mount for mount in pod["containers"][0]["volumeMounts"] if mount["mountPath"] == folder)
        (found,) = (volume for volume in pod["volumes"] if volume["name"] == mount["name"])
        return {key: value for key, value in found.items() if key != "name"}

    assert volume("default") == {"emptyDir": {"sizeLimit": "10Gi"}}
    assert volume("claim") == {"persistentVolumeClaim": {"claimName": "kept"}}
    assert gateway_pod(render, "claim")["securityContext"]["fsGroup"] == 65532


def test_the_gateways_settings_can_be_read_from_its_environment(
    render: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, item in variables(gateway_pod(render, "claim")).items():
        monkeypatch.setenv(f"HELIOGRAPH_GATEWAY_{name}", item.get("value", "0123456789abcdef"))
    settings = GatewaySettings()
    assert settings.max_stored_bytes == 3 * 1024**3 // 2
    assert settings.external_url == "https://images.example.org"
    assert settings.image_url_hosts == ("*.example.org", "cdn.test:8443")
    assert settings.image_url_private_hosts == ("minio",)


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("gateway.replicas=2", "no shared database is supported yet; set 1"),
        ("gateway.data.size=500Mi", "gateway.data.size: 500Mi is no number of whole Gi"),
        ("gateway.data.size=10", "gateway.data.size: 10 is no number of whole Gi"),
    ],
)
def test_values_that_cannot_work_are_refused(render: Render, option: str, problem: str) -> None:
    with pytest.raises(AssertionError, match=problem):
        render("heliograph", "--set", option)


def test_a_claim_can_be_named_later(
    cluster: ControlPlane, namespace: str, helm: Callable[..., str], tmp_path: Path
) -> None:
    place = ("--namespace", namespace, "--kubeconfig", str(cluster.kubeconfig()))
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}

    def strategy(variant: str) -> dict[str, Any]:
        options = ("--reset-values", *VARIANTS[variant])
        helm("upgrade", "--install", "kept", CHARTS / "heliograph", *options, *place, env=environment)
        found = cluster.kubectl("get", "deployment/kept-gateway", "--namespace", namespace, "--output", "json").stdout
        spec: dict[str, Any] = json.loads(found)["spec"]["strategy"]
        return spec

    assert strategy("default")["type"] == "RollingUpdate"
    assert strategy("claim") == {"type": "Recreate"}
    assert strategy("default")["type"] == "RollingUpdate"


def test_definitions_are_the_generated_ones(render: Render) -> None:
    generated = {path.name: path.read_text() for path in (ROOT / "crds").glob("*.yaml")}
    assert generated
    assert {path.name: path.read_text() for path in (CHARTS / "heliograph-crds" / "files").glob("*.yaml")} == generated
    (definition,) = render("heliograph-crds")
    assert definition["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    (expected,) = (yaml.safe_load(text) for text in generated.values())
    assert definition["spec"] == expected["spec"]
