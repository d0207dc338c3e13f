"""The dashboard and the alerts: they ask for metrics and labels that there are, in PromQL that can be parsed."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import promql_parser
import pytest
import yaml
from kubernetes.aio.client import Configuration
from prometheus_client.parser import text_string_to_metric_families

from cluster.control_plane import ControlPlane
from cluster.waiting import eventually
from gateway.manifests import image_model
from heliograph_api import naming
from heliograph_api.usage import Usage
from heliograph_gateway.health import Health
from heliograph_gateway.keys.keyring import KeyMetrics, Keyring
from heliograph_gateway.kube import KubeApi
from heliograph_gateway.load import Loads
from heliograph_gateway.metrics import Metrics
from heliograph_gateway.routing import RoutingTable
from heliograph_gateway.settings import GatewaySettings
from heliograph_gateway.watch import informers
from heliograph_operator.diagnosis.reasons import CAUSES, STATES
from operator_rig import make_namespace, running_operator

CHART = Path(__file__).resolve().parents[2] / "charts" / "heliograph"
SWITCHES = ("dashboard", "podMonitors", "alerts")
SCRAPED = ("--set", "runtime.network.scraperPodLabels.app=prometheus")
TARGET_LABELS = {"instance", "le"}
"""Labels that Prometheus adds to whatever it scrapes, and that of buckets."""
MODELS: dict[str, dict[str, Any]] = {
    "plain": {"parameters": {"model": "tiny/model.safetensors"}},
    "refused": {
        "parameters": {"model": "tiny/model.safetensors"},
        "serving": {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}},
    },
}

Samples = dict[str, set[str]]
"""Labels of each sample, by its name."""


@pytest.fixture(scope="module")
def rendered(helm: Callable[..., str]) -> dict[str, dict[str, Any]]:
    """What the chart makes for monitoring, by kind."""
    options = [part for switch in SWITCHES for part in ("--set", f"monitoring.{switch}.enabled=true")]
    text = helm("template", "heliograph", CHART, *options, *SCRAPED, "--set", "gateway.apiKeySecret.name=keys")
    kinds = {"ConfigMap", "PodMonitor", "PrometheusRule"}
    found = [item for item in yaml.safe_load_all(text) if item and item["kind"] in kinds]
    return {f"{item['kind']} {item['metadata']['name']}": item for item in found}


@pytest.fixture(scope="module")
def samples(imagemodels: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """What an operator and a gateway that have done some work really show."""
    served = make_namespace(imagemodels)
    folder = tmp_path_factory.mktemp("monitoring")
    with running_operator(folder, served.kubeconfig, "--namespaces", served.namespace) as operator:
        operator.wait_until_ready()
        for name, spec in MODELS.items():
            served.apply(name, spec)
        served.wait_for_condition("refused", "Ready", "ApplyFailed")
        eventually(lambda: served.conditions("plain"), what="status")
        text = httpx.get(f"{operator.url}/metrics", trust_env=False).raise_for_status().text
    imagemodels.admin.delete(f"/api/v1/namespaces/{served.namespace}").raise_for_status()
    return {**read_samples(text), **read_samples(asyncio.run(used_metrics()))}


async def used_metrics() -> str:
    """What a gateway with keys in a cluster tells that has answered a request."""
    routes = RoutingTable()
    routes.set_model(image_model("tiny"))
    async with KubeApi(Configuration()) as api:
        metrics = Metrics(routes, Health(informers(api, routes, [])), Loads())
        metrics.registry.register(KeyMetrics(Keyring(GatewaySettings())))
        route = routes.resolve("tiny")
        metrics.observe_request(route, 200, seconds=1.0, held=0.5)
        metrics.count_usage("alice", route, Usage(images=1, pixels=4096, steps=4, seconds=1.0, gpu_seconds=1.0))
        return (await metrics.read({"alice"})).decode()


def read_samples(text: str) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        # A counter with labels has no sample before it counts.
        suffix = "_total" if family.type == "counter" else ""
        found.setdefault(family.name + suffix, set())
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def expressions(rendered: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield where a query stands, and the query."""
    dashboard = json.loads(rendered["ConfigMap heliograph-dashboard"]["data"]["heliograph.json"])
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"].replace("$__rate_interval", "5m")
    for group in rendered["PrometheusRule heliograph"]["spec"]["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def test_every_metric_and_label_that_is_asked_for_is_there(
    rendered: dict[str, dict[str, Any]], samples: Samples
) -> None:
    asked = list(expressions(rendered))
    assert len(asked) > 30
    for place, expression in asked:
        promql_parser.parse(expression)
        names = re.findall(r"\b(?:heliograph|process)_\w+", expression)
        assert names, place
        for name in names:
            assert name in samples, f"{place} asks for {name}"
        known = set().union(*(samples[name] for name in names))
        labels = {label for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression) for label in group.split(", ")}
        labels |= set(re.findall(r"[{,](\w+)(?:=|!=|=~|!~)\"", expression))
        # Nothing is known of the labels of a metric that has no sample yet.
        if all(samples[name] for name in names):
            assert labels <= known | TARGET_LABELS, f"{place} asks for {labels - known}"


def test_the_operator_tells_of_its_queue_its_errors_its_models_and_itself(samples: Samples) -> None:
    own = {name: labels for name, labels in samples.items() if name.startswith("heliograph_operator_")}
    assert own["heliograph_operator_api_requests_total"] == {"method", "status"}
    assert "heliograph_operator_errors_total" in own
    assert own["heliograph_operator_model_ready"] == {"namespace", "model", "reason"}
    assert own["heliograph_operator_conditions"] == {"type", "status", "reason"}
    assert not {"pod", "uid"} & set().union(*own.values())


def test_what_is_no_failure_of_a_fetch_raises_no_alert(rendered: dict[str, dict[str, Any]]) -> None:
    expression = dict(expressions(rendered))["HeliographFetchFailing"]
    (spared,) = re.findall(r'reason!~"([^"]*)"', expression)
    assert set(spared.split("|")) <= set(STATES)
    assert not set(spared.split("|")) & set(CAUSES)


def test_monitoring_is_off_unless_it_is_asked_for(helm: Callable[..., str]) -> None:
    kinds = {item["kind"] for item in yaml.safe_load_all(helm("template", "heliograph", CHART)) if item}
    assert not kinds & {"PodMonitor", "PrometheusRule"}


def test_pod_monitors_find_the_ports_and_carry_the_key(
    rendered: dict[str, dict[str, Any]], helm: Callable[..., str]
) -> None:
    deployments = {
        item["metadata"]["name"]: item["spec"]["template"]
        for item in yaml.safe_load_all(helm("template", "heliograph", CHART))
        if item and item["kind"] == "Deployment"
    }
    for component in ("operator", "gateway"):
        monitor, template = rendered[f"PodMonitor heliograph-{component}"], deployments[f"heliograph-{component}"]
        assert monitor["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert endpoint["port"] in {port["name"] for port in template["spec"]["containers"][0]["ports"]}
        assert endpoint["honorLabels"] is True
    key = rendered["PodMonitor heliograph-gateway"]["spec"]["podMetricsEndpoints"][0]["authorization"]
    assert key == {"credentials": {"name": "keys", "key": "api-key"}}


def test_runtimes_are_scraped_where_the_scraper_may_come_in(
    rendered: dict[str, dict[str, Any]], helm: Callable[..., str]
) -> None:
    spec = rendered["PodMonitor heliograph-runtime"]["spec"]
    labels = naming.child_labels("tiny")
    assert spec["selector"]["matchLabels"].items() <= labels.items()
    assert not spec["selector"]["matchLabels"].items() <= naming.fetcher_labels("tiny").items()
    assert set(spec["podTargetLabels"]) <= labels.keys()
    assert [endpoint["port"] for endpoint in spec["podMetricsEndpoints"]] == [naming.RUNTIME_PORT_NAME]
    assert spec["namespaceSelector"] == {"matchNames": ["default"]}

    def monitors(*options: str) -> dict[str, Any]:
        text = helm("template", "heliograph", CHART, "--set", "monitoring.podMonitors.enabled=true", *options)
        items = [item for item in yaml.safe_load_all(text) if item and item["kind"] == "PodMonitor"]
        return {item["metadata"]["name"]: item["spec"] for item in items}

    assert "heliograph-runtime" not in monitors()
    everywhere = monitors(*SCRAPED, "--set", "clusterWide=true")["heliograph-runtime"]
    assert everywhere["namespaceSelector"] == {"any": True}


def test_the_dashboard_bears_the_sidecars_label_and_no_data_source_of_somebodys(
    rendered: dict[str, dict[str, Any]], cluster: ControlPlane
) -> None:
    config_map = rendered["ConfigMap heliograph-dashboard"]
    assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
    dashboard = json.loads(config_map["data"]["heliograph.json"])
    sources = {target["datasource"]["uid"] for panel in dashboard["panels"] for target in panel.get("targets", ())}
    assert sources == {"${datasource}"}
    cluster.kubectl("apply", "--dry-run=server", "--filename", "-", input=json.dumps(config_map))
