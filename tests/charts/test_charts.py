"""The charts, rendered by helm: what they grant, and that a real API server takes them."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from charts.variants import CHARTS, VARIANTS, Render, environment
from cluster.control_plane import ControlPlane
from heliograph_gateway.settings import GatewaySettings
from heliograph_operator.settings import OperatorSettings


def pods(objects: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for item in objects:
        if item["kind"] == "Deployment":
            yield item["spec"]["template"]["spec"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_lint_finds_nothing(helm: Callable[..., str], variant: str) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", CHARTS / "heliograph", *VARIANTS[variant])


@pytest.mark.parametrize(
    ("chart", "options"),
    [
        ("heliograph-crds", ()),
        ("heliograph-crds", ("--set", "keep=false")),
        ("heliograph-models", ()),
        ("heliograph-models", ("--set", "enabled={sd-1-5-ggml,sdxl-turbo},models.sdxl-turbo.spec.serving.profile=l4")),
    ],
)
def test_lint_finds_nothing_in_the_other_charts(helm: Callable[..., str], chart: str, options: tuple[str, ...]) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", CHARTS / chart, *options)


@pytest.mark.parametrize("variant", VARIANTS)
def test_roles_grant_no_more_than_their_parts_use(render: Render, variant: str) -> None:
    for item in render("heliograph", *VARIANTS[variant]):
        for rule in item.get("rules", ()):
            assert "*" not in [*rule["verbs"], *rule["resources"], *rule["apiGroups"]]
            assert not {"roles", "clusterroles"} & set(rule["resources"])
            # Secrets are made once, by a Job, which reads none but those.
            assert "secrets" not in rule["resources"] or (
                item["metadata"]["name"] == "heliograph-first-key"
                and (rule["verbs"] == ["create"] or (rule["verbs"] == ["get"] and len(rule["resourceNames"]) == 2))
            )
            # What is in no namespace is read, and in cluster-wide mode alone.
            assert not {"nodes", "persistentvolumes"} & set(rule["resources"]) or (
                item["kind"] == "ClusterRole" and set(rule["verbs"]) <= {"get", "list"}
            )
            assert "pods" not in rule["resources"] or set(rule["verbs"]) <= {"list", "watch"}


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
            if item["kind"].endswith("Role") and not item["metadata"]["name"].endswith(("-lease", "-load", "-key"))
        }

    assert roles("default") == {("Role", "default")}
    assert roles("clusterWide") == {("ClusterRole", "")}
    assert roles("namespaces") == {("Role", "default"), ("Role", "kube-public")}


def pod_of(render: Render, part: str, variant: str) -> dict[str, Any]:
    return next(pod for pod in pods(render("heliograph", *VARIANTS[variant])) if pod["containers"][0]["name"] == part)


def gateway_pod(render: Render, variant: str) -> dict[str, Any]:
    return pod_of(render, "gateway", variant)


def variables(pod: dict[str, Any]) -> dict[str, Any]:
    return {item["name"].removeprefix("HELIOGRAPH_GATEWAY_"): item for item in pod["containers"][0]["env"]}


def operator_settings(render: Render, monkeypatch: pytest.MonkeyPatch, variant: str) -> OperatorSettings:
    for item in pod_of(render, "operator", variant)["containers"][0]["env"]:
        monkeypatch.setenv(item["name"], item["value"])
    return OperatorSettings()


def test_the_operators_settings_can_be_read_from_its_environment(
    render: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = operator_settings(render, monkeypatch, "network")
    assert (settings.metrics_pod_labels, settings.metrics_namespace_labels) == ({"app": "prometheus"}, {"team": "ops"})
    assert [str(network) for network in settings.probe_networks] == ["10.0.0.0/8", "fd00::/64"]
    assert [str(network) for network in settings.fetcher_blocked_networks] == ["10.0.0.0/8", "192.168.0.0/16"]
    assert (
        settings.operator_pod_labels.items()
        <= {
            "app.kubernetes.io/name": "heliograph",
            "app.kubernetes.io/instance": "heliograph",
            "app.kubernetes.io/component": "operator",
        }.items()
    )
    assert settings.operator_namespace_labels == {"kubernetes.io/metadata.name": "default"}
    assert not settings.fetcher_reaches_pods


def test_an_image_is_named_by_its_tag_or_its_digest(render: Render, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VARIANTS, "pinned", ("--set", f"weights.image=fetcher@sha256:{'0' * 64},image.tag=v2"))
    settings = operator_settings(render, monkeypatch, "pinned")
    assert settings.fetcher_image == f"fetcher@sha256:{'0' * 64}"
    assert settings.runtime_image_sdcpp == "heliograph-runtime-sdcpp:v2"


def test_the_fetchers_authorities_are_named(render: Render, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = operator_settings(render, monkeypatch, "cloud")
    assert (settings.fetcher_ca_config_map, settings.fetcher_ca_key) == ("authorities", "trust-bundle.pem")


def test_every_pod_has_the_pull_secrets(render: Render, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = [{"name": "registry"}, {"name": "mirror"}]
    assert [pod["imagePullSecrets"] for pod in pods(render("heliograph", *VARIANTS["registry"]))] == [secrets] * 2
    settings = operator_settings(render, monkeypatch, "registry")
    assert [{"name": name} for name in settings.image_pull_secrets] == secrets
    assert settings.fetcher_image.startswith("registry.example.org/team/")


def test_replicas_share_the_lease_of_their_release_alone(render: Render, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = operator_settings(render, monkeypatch, "namespaces")
    assert (settings.lease, settings.lease_namespace, settings.lease_name) == (True, "default", "heliograph-operator")
    objects = render("heliograph", *VARIANTS["namespaces"])
    (role,) = (item for item in objects if item["metadata"]["name"] == "heliograph-operator-lease" and "rules" in item)
    assert [(rule["verbs"], rule.get("resourceNames")) for rule in role["rules"]] == [
        (["create"], None),
        (["get", "update"], [settings.lease_name]),
    ]


def test_a_release_may_have_dots_in_its_name(cluster: ControlPlane, namespace: str, helm: Callable[..., str]) -> None:
    text = helm("template", "images.v2", CHARTS / "heliograph", "--namespace", namespace)
    answer = cluster.kubectl("apply", "--dry-run=server", "--filename", "-", input=text)
    assert "service/images-v2-gateway created" in answer.stdout


def test_unless_said_otherwise_no_address_ranges_are_named(render: Render, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = operator_settings(render, monkeypatch, "default")
    assert (settings.fetcher_blocked_networks, settings.probe_networks) == ((), ())
    assert settings.metrics_pod_labels == {}
    assert settings.fetcher_reaches_pods


def test_gateways_wait_for_a_held_request_as_long_as_for_the_longest_answer(
    render: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = gateway_pod(render, "network")
    seconds = operator_settings(render, monkeypatch, "network").runtime_request_seconds
    hold = int(variables(pod)["HOLD_SECONDS"]["value"])
    assert int(variables(pod)["READ_TIMEOUT"]["value"]) >= seconds == 900
    assert int(variables(pod)["SHUTDOWN_TIMEOUT"]["value"]) >= seconds + hold
    assert pod["terminationGracePeriodSeconds"] > int(variables(pod)["SHUTDOWN_TIMEOUT"]["value"])


def test_the_load_has_a_service_of_its_own(render: Render) -> None:
    objects = {(item["kind"], item["metadata"]["name"]): item for item in render("heliograph")}
    assert [port["name"] for port in objects["Service", "heliograph-gateway"]["spec"]["ports"]] == ["http"]
    assert objects["Service", "heliograph-gateway-load"]["spec"]["clusterIP"] == "None"
    (operator,) = (pod for pod in pods(list(objects.values())) if pod["containers"][0]["name"] == "operator")
    assert environment(operator)["HELIOGRAPH_OPERATOR_GATEWAY_SERVICE"] == "default/heliograph-gateway-load"


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


def test_replicas_share_what_they_keep(render: Render) -> None:
    objects = {(item["kind"], item["metadata"]["name"]): item for item in render("heliograph", *VARIANTS["replicas"])}
    deployment = objects["Deployment", "heliograph-gateway"]["spec"]
    assert deployment["replicas"] == 3
    pod = deployment["template"]["spec"]
    found = variables(pod)
    assert found["DATABASE_URL"]["valueFrom"] == {"secretKeyRef": {"name": "database", "key": "uri"}}
    assert found["FILES_URL"]["value"] == "s3://pictures/kept"
    assert found["MAX_STORED_BYTES"]["value"] == str(10 * 1024**3)
    assert pod["containers"][0]["envFrom"] == [{"secretRef": {"name": "bucket"}}]
    selector = deployment["selector"]
    (spread,) = pod["topologySpreadConstraints"]
    assert (spread["whenUnsatisfiable"], spread["labelSelector"]) == ("ScheduleAnyway", selector)
    budget = objects["PodDisruptionBudget", "heliograph-gateway"]["spec"]
    assert budget == {"maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow", "selector": selector}


def test_replicas_are_replaced_one_by_one_where_they_share_a_claim(render: Render) -> None:
    def gateway(variant: str) -> dict[str, Any]:
        (found,) = (
            item["spec"]
            for item in render("heliograph", *VARIANTS[variant])
            if (item["kind"], item["metadata"]["name"]) == ("Deployment", "heliograph-gateway")
        )
        return dict(found)

    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    assert [gateway(variant)["strategy"] for variant in ("default", "sharedClaim", "replicas")] == [rolling] * 3
    assert gateway("claim")["strategy"] == {"type": "Recreate"}


def test_definitions_are_the_generated_ones(render: Render) -> None:
    generated = {path.name: path.read_text() for path in (CHARTS.parent / "crds").glob("*.yaml")}
    assert generated
    assert {path.name: path.read_text() for path in (CHARTS / "heliograph-crds" / "files").glob("*.yaml")} == generated
    rendered = render("heliograph-crds")
    assert [item["metadata"].pop("annotations")["helm.sh/resource-policy"] for item in rendered] == ["keep"] * 3
    assert rendered == [item for text in generated.values() for item in yaml.safe_load_all(text)]
