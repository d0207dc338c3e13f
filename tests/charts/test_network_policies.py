"""Who may reach the pods of the chart."""

from typing import Any

import pytest

from charts.variants import Render, only
from cluster.selectors import selects

SCRAPERS = ("--set", "runtime.network.scraperPodLabels.app=prometheus")
MONITORS = ("--set", "monitoring.podMonitors.enabled=true")
PROBES = ("--set", "runtime.network.probeRanges={10.0.0.0/8}")
POD = {"podSelector": {"matchLabels": {"app": "prometheus"}}}


def policies_of(objects: list[dict[str, Any]], labels: dict[str, str]) -> list[dict[str, Any]]:
    """Return the policies that select a pod with these labels."""
    return [
        item["spec"]
        for item in objects
        if item["kind"] == "NetworkPolicy" and selects(item["spec"]["podSelector"], labels)
    ]


@pytest.mark.parametrize("options", [(), ("--set", "clusterWide=true,operator.replicas=2"), SCRAPERS])
def test_every_pod_of_the_chart_has_one_policy(render: Render, options: tuple[str, ...]) -> None:
    objects = render("heliograph", *options)
    templates = [item["spec"]["template"] for item in objects if item["kind"] in {"Deployment", "Job"}]
    pods = [*templates, only(objects, "Pod", "heliograph-test")]
    assert len(pods) == 4
    for pod in pods:
        (policy,) = policies_of(objects, pod["metadata"]["labels"])
        assert policy["policyTypes"] == ["Ingress"]
        listening = {port["name"] for container in pod["spec"]["containers"] for port in container.get("ports", ())}
        opened = {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
        assert opened <= listening


def test_everybody_may_ask_the_gateway_and_the_operator_alone_its_load(render: Render) -> None:
    objects = render("heliograph")
    (port,) = only(objects, "Service", "heliograph-gateway-load")["spec"]["ports"]
    rules = only(objects, "NetworkPolicy", "heliograph-gateway")["spec"]["ingress"]
    admitted = {rule["ports"][0]["port"]: rule.get("from") for rule in rules}
    labels = only(objects, "Deployment", "heliograph-operator")["spec"]["selector"]["matchLabels"]
    assert admitted == {"http": None, port["targetPort"]: [{"podSelector": {"matchLabels": labels}}]}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), []),
        (MONITORS, [{"ports": [{"port": "health", "protocol": "TCP"}]}]),
        (SCRAPERS, [{"ports": [{"port": "health", "protocol": "TCP"}], "from": [POD]}]),
        ((*SCRAPERS, *MONITORS), [{"ports": [{"port": "health", "protocol": "TCP"}], "from": [POD]}]),
        (
            (*SCRAPERS, "--set", "runtime.network.scraperNamespaceLabels.team=ops", *PROBES),
            [
                {
                    "ports": [{"port": "health", "protocol": "TCP"}],
                    "from": [
                        {**POD, "namespaceSelector": {"matchLabels": {"team": "ops"}}},
                        {"ipBlock": {"cidr": "10.0.0.0/8"}},
                    ],
                }
            ],
        ),
        (
            PROBES,
            [{"ports": [{"port": "health", "protocol": "TCP"}], "from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}],
        ),
    ],
)
def test_the_operators_port_is_for_those_who_scrape_it(
    render: Render, options: tuple[str, ...], expected: list[dict[str, Any]]
) -> None:
    assert only(render("heliograph", *options), "NetworkPolicy", "heliograph-operator")["spec"]["ingress"] == expected


def test_who_scrapes_the_operator_is_let_in(render: Render) -> None:
    """A PodMonitor without labels of the scraper must not point at a closed door."""
    objects = render("heliograph", *MONITORS, *PROBES)
    (rule,) = only(objects, "NetworkPolicy", "heliograph-operator")["spec"]["ingress"]
    assert "from" not in rule
