"""How clients reach the gateway: Service, Ingress, HTTPRoute, and how many gateways there are."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from charts.variants import CHARTS, SHARED, VARIANTS, Render, only
from cluster.control_plane import ControlPlane
from cluster.go_programs import Progress, cache_folder, find_go
from cluster.waiting import eventually
from heliograph_gateway.settings import GatewaySettings

NGINX = "nginx.ingress.kubernetes.io/"
GATEWAY_API = "v1.4.1"
GATEWAY_API_SUMS = f"""\
sigs.k8s.io/gateway-api {GATEWAY_API} h1:NPxFutNkKNa8UfLd2CMlEuhIPMQgDQ6DXNKG9sHbJU8=
sigs.k8s.io/gateway-api {GATEWAY_API}/go.mod h1:AR5RSqciWP98OPckEjOjh2XJhAe2Na4LHyXD2FUY7Qk=
"""
ROUTE = (
    "--set-json",
    """gateway.httpRoute={"enabled": true, "hostnames": ["images.example.org", "*.images.example.org"],
    "parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "https"}],
    "annotations": {"example.org/team": "images"}}""",
)


@pytest.fixture(scope="module")
def gateway_api(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The control plane with the Gateway API's definition of HTTPRoutes, from its Go module."""
    folder = tmp_path_factory.mktemp("gateway-api")
    (folder / "go.mod").write_text("module example.invalid/gateway-api\n\ngo 1.24.0\n")
    (folder / "go.sum").write_text(GATEWAY_API_SUMS)
    go = find_go(cache_folder(os.environ), os.environ, Progress(), go_mod=folder / "go.mod")
    command = [str(go), "mod", "download", "-json", f"sigs.k8s.io/gateway-api@{GATEWAY_API}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    definitions = Path(json.loads(done.stdout)["Dir"]) / "config" / "crd" / "standard"
    definition = definitions / "gateway.networking.k8s.io_httproutes.yaml"
    # It is longer than the annotation of a client-side apply may be.
    cluster.kubectl("apply", "--server-side", "--filename", definition)
    path = "/apis/gateway.networking.k8s.io/v1/httproutes"
    eventually(lambda: cluster.admin.get(path).is_success, what="HTTPRoutes in the API")
    yield cluster
    cluster.kubectl("delete", "--filename", definition, "--wait=false")


@pytest.fixture
def notes(gateway_api: ControlPlane, helm: Callable[..., str], tmp_path: Path) -> Callable[..., str]:
    """What helm says after an installation."""

    def run(*options: str) -> str:
        place = ("--kubeconfig", str(gateway_api.kubeconfig()), "--namespace", "default", "--dry-run=client")
        environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
        text = helm("install", "heliograph", CHARTS / "heliograph", *options, *place, env=environment)
        return text.partition("NOTES:")[2]

    return run


def ingress(render: Render, *options: str) -> dict[str, Any]:
    named = ("--set", "gateway.ingress.enabled=true,gateway.ingress.hosts={images.example.org}")
    return only(render("heliograph", *named, *options), "Ingress", "heliograph-gateway")


def route(render: Render, *options: str) -> dict[str, Any]:
    return only(render("heliograph", *ROUTE, *options), "HTTPRoute", "heliograph-gateway")


def test_nothing_leads_in_from_outside_unless_it_is_asked_for(render: Render) -> None:
    objects = render("heliograph")
    assert not {item["kind"] for item in objects} & {"Ingress", "HTTPRoute", "HorizontalPodAutoscaler"}
    spec = only(objects, "Service", "heliograph-gateway")["spec"]
    assert spec["type"] == "ClusterIP"
    assert spec["ports"] == [{"name": "http", "port": 80, "targetPort": "http", "appProtocol": "http"}]


def test_the_service_has_what_load_balancers_go_by(render: Render) -> None:
    service = only(render("heliograph", *VARIANTS["exposed"]), "Service", "heliograph-gateway")
    assert service["metadata"]["annotations"] == {"example.org/internal": "true"}
    spec = service["spec"]
    assert (spec["type"], spec["loadBalancerClass"]) == ("LoadBalancer", "example.org/internal")
    assert (spec["loadBalancerSourceRanges"], spec["externalTrafficPolicy"]) == (["203.0.113.0/24"], "Local")
    assert spec["ports"] == [
        {"name": "http", "port": 443, "targetPort": "http", "nodePort": 30443, "appProtocol": "https"}
    ]


def test_ingress_nginx_waits_for_held_requests_and_takes_large_bodies(render: Render) -> None:
    found = ingress(render)["metadata"]["annotations"]
    seconds = 300 + 300
    assert int(found[f"{NGINX}proxy-read-timeout"]) > seconds
    assert int(found[f"{NGINX}proxy-send-timeout"]) > seconds
    assert found[f"{NGINX}proxy-buffering"] == "off"
    assert found[f"{NGINX}backend-protocol"] == "HTTP"
    megabytes = int(found[f"{NGINX}proxy-body-size"].removesuffix("m"))
    assert megabytes * 1024**2 == GatewaySettings.model_fields["max_body_bytes"].default


def test_the_ingress_follows_the_values_that_it_stands_before(render: Render) -> None:
    longer = ("--set", "gateway.hold.seconds=900,runtime.requestSeconds=1200,gateway.tls.secretName=web")
    found = ingress(render, *longer, *VARIANTS["environment"])["metadata"]["annotations"]
    assert int(found[f"{NGINX}proxy-read-timeout"]) > 2100
    assert found[f"{NGINX}backend-protocol"] == "HTTPS"
    assert found[f"{NGINX}proxy-body-size"] == "129m", "128 MiB and a byte, rounded up"


def test_annotations_of_the_ingress_win_over_the_charts(render: Render) -> None:
    item = only(render("heliograph", *VARIANTS["exposed"]), "Ingress", "heliograph-gateway")
    found = item["metadata"]["annotations"]
    assert found[f"{NGINX}proxy-body-size"] == "8m"
    assert found["cert-manager.io/cluster-issuer"] == "ours"
    assert f"{NGINX}proxy-read-timeout" in found
    spec = item["spec"]
    assert spec["ingressClassName"] == "nginx"
    assert [rule.get("host") for rule in spec["rules"]] == ["images.example.org", None]
    assert spec["tls"] == [{"secretName": "images-tls", "hosts": ["images.example.org"]}]
    for rule in spec["rules"]:
        (path,) = rule["http"]["paths"]
        assert path["backend"]["service"] == {"name": "heliograph-gateway", "port": {"name": "http"}}


def test_a_route_waits_for_held_requests(
    gateway_api: ControlPlane, namespace: str, render: Render, helm: Callable[..., str]
) -> None:
    spec = route(render)["spec"]
    (rule,) = spec["rules"]
    assert int(rule["timeouts"]["request"].removesuffix("s")) > 600
    assert rule["backendRefs"] == [{"name": "heliograph-gateway", "port": 80}]
    assert spec["parentRefs"] == [{"name": "public", "namespace": "gateways", "sectionName": "https"}]
    for options in ((), ("--set", "gateway.httpRoute.requestTimeout=20m"), ("--set", "gateway.service.port=8443")):
        item = json.dumps(route(render, *options) | {"metadata": {"name": "gateway", "namespace": namespace}})
        gateway_api.kubectl("apply", "--dry-run=server", "--validate=strict", "--filename", "-", input=item)


def test_the_bound_of_a_route_can_be_set_and_left_out(render: Render) -> None:
    (rule,) = route(render, "--set", "gateway.httpRoute.requestTimeout=20m")["spec"]["rules"]
    assert rule["timeouts"] == {"request": "20m"}
    (rule,) = route(render, "--set", "gateway.httpRoute.requestTimeout=none")["spec"]["rules"]
    assert "timeouts" not in rule


def test_an_autoscaler_sets_the_size_in_place_of_the_chart(render: Render) -> None:
    objects = render("heliograph", *VARIANTS["autoscaled"])
    scaler = only(objects, "HorizontalPodAutoscaler", "heliograph-gateway")["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "heliograph-gateway"}
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (1, 5)
    deployment = only(objects, "Deployment", "heliograph-gateway")["spec"]
    assert "replicas" not in deployment
    assert deployment["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"]
    assert deployment["template"]["spec"]["topologySpreadConstraints"][0]["whenUnsatisfiable"] == "ScheduleAnyway"
    budget = only(objects, "PodDisruptionBudget", "heliograph-gateway")["spec"]
    assert budget["maxUnavailable"] == 1, "never what keeps the only replica from being evicted"


def test_one_at_most_needs_nothing_shared(render: Render) -> None:
    one = ("enabled=true", "minReplicas=1", "maxReplicas=1")
    options = [part for value in one for part in ("--set", f"gateway.autoscaling.{value}")]
    scaler = only(render("heliograph", *options), "HorizontalPodAutoscaler", "heliograph-gateway")
    assert scaler["spec"]["maxReplicas"] == 1


def test_the_autoscaler_and_the_chart_do_not_set_the_size_in_turns(
    cluster: ControlPlane, namespace: str, helm: Callable[..., str], tmp_path: Path
) -> None:
    place = ("--namespace", namespace, "--kubeconfig", str(cluster.kubeconfig()))
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    chart = CHARTS / "heliograph"
    scaled = ("--set", "gateway.autoscaling.enabled=true", *SHARED)

    def size() -> int:
        answer = cluster.kubectl("get", "deployment/sized-gateway", "--namespace", namespace, "--output", "json")
        return int(json.loads(answer.stdout)["spec"]["replicas"])

    helm("install", "sized", chart, *scaled, *place, env=environment)
    # As the autoscaler does, by the subresource.
    cluster.kubectl("scale", "deployment/sized-gateway", "--replicas=4", "--namespace", namespace)
    helm("upgrade", "sized", chart, *scaled, "--set", "gateway.logFormat=json", *place, env=environment)
    assert size() == 4


def test_pods_are_placed_labelled_and_ranked_as_told(render: Render) -> None:
    objects = render("heliograph", *VARIANTS["placed"])
    for component in ("operator", "gateway"):
        template = only(objects, "Deployment", f"heliograph-{component}")["spec"]["template"]
        assert template["metadata"]["annotations"] == {"example.org/team": "1"}
        assert template["metadata"]["labels"]["example.org/cost"] == "2"
        assert template["metadata"]["labels"]["app.kubernetes.io/component"] == component
        spec = template["spec"]
        assert (spec["priorityClassName"], spec["nodeSelector"]) == ("system-cluster-critical", {"disk": "ssd"})
        assert set(spec["affinity"]) == {"nodeAffinity", "podAntiAffinity"}
        assert [entry["topologyKey"] for entry in spec["topologySpreadConstraints"]] == ["zone"]
        assert spec["tolerations"][0]["key"] == "images"
    assert only(objects, "PodDisruptionBudget", "heliograph-operator")["spec"]["maxUnavailable"] == 1


def test_pods_beside_the_gateways_are_on_the_same_nodes_and_not_held_apart(render: Render) -> None:
    objects = render("heliograph", *VARIANTS["placed"])
    (job,) = (item["spec"]["template"]["spec"] for item in objects if item["kind"] == "Job")
    for spec in (job, only(objects, "Pod", "heliograph-test")["spec"]):
        assert (spec["priorityClassName"], spec["nodeSelector"]) == ("system-cluster-critical", {"disk": "ssd"})
        assert set(spec["affinity"]) == {"nodeAffinity"}
        assert "topologySpreadConstraints" not in spec


def test_a_single_replica_has_no_budget_that_keeps_its_node_from_being_drained(render: Render) -> None:
    assert "PodDisruptionBudget" not in {item["kind"] for item in render("heliograph")}


def test_variables_of_the_environment_reach_the_gateway(render: Render, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = only(render("heliograph", *VARIANTS["environment"]), "Deployment", "heliograph-gateway")["spec"]["template"]
    container, volumes = pod["spec"]["containers"][0], pod["spec"]["volumes"]
    for item in container["env"]:
        monkeypatch.setenv(item["name"], item["value"])
    settings = GatewaySettings()
    assert settings.max_body_bytes == 128 * 1024**2 + 1
    assert settings.max_spooled_bytes == 8 * 1024**3
    assert next(volume for volume in volumes if volume["name"] == "tmp")["emptyDir"] == {"sizeLimit": "9Gi"}


def test_the_room_for_bodies_is_that_of_the_gateways_default(render: Render) -> None:
    pod = only(render("heliograph"), "Deployment", "heliograph-gateway")["spec"]["template"]["spec"]
    limit = next(volume for volume in pod["volumes"] if volume["name"] == "tmp")["emptyDir"]["sizeLimit"]
    most = GatewaySettings.model_fields["max_spooled_bytes"].default
    assert int(limit.removesuffix("Gi")) * 1024**3 == most + 1024**3


@pytest.mark.parametrize(
    ("options", "told", "untold"),
    [
        ((), ["http://heliograph-gateway.default:80/v1", "helm test heliograph -n default"], ["outside", "plain text"]),
        (
            ("--set", "gateway.ingress.enabled=true,gateway.ingress.hosts={images.example.org}"),
            ["  http://images.example.org/v1\n", "Keys and pictures travel there in plain text"],
            [],
        ),
        (VARIANTS["exposed"], ["  https://images.example.org/v1\n", "  https://ADDRESS/v1\n"], ["plain text"]),
        (VARIANTS["exposed"], ["jsonpath='{.status.loadBalancer.ingress[0]}'"], ["nodePort}"]),
        (ROUTE, ["for images.example.org, *.images.example.org.", "kubectl get httproute heliograph-gateway"], []),
        (("--set", "gateway.service.type=NodePort"), ["jsonpath='{.spec.ports[0].nodePort}'"], ["loadBalancer"]),
        (("--set", "namespaces={team-a,team-b}"), ["namespace team-a, team-b.", "imagemodels -n team-a\n"], []),
        (("--set", "clusterWide=true"), ["every namespace.", "imagemodels --all-namespaces\n"], []),
    ],
)
def test_the_notes_say_where_the_gateway_is(
    notes: Callable[..., str], options: tuple[str, ...], told: list[str], untold: list[str]
) -> None:
    text = notes(*options)
    assert [part for part in told if part not in text] == []
    assert [part for part in untold if part in text] == []
