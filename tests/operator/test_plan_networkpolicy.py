"""Who may come in to a model's pods, and where they may go."""

import json
from typing import Any

import pytest

from cluster.control_plane import ControlPlane
from heliograph_api import naming
from heliograph_api.manifest import ImageModel
from heliograph_operator.plan.networkpolicy import plan_fetcher_network_policy, plan_network_policy
from heliograph_operator.settings import OperatorSettings

GATEWAYS = {"matchLabels": {"app": "gateway"}}
SCRAPERS = {"matchLabels": {"app": "prometheus"}}
METADATA = ["169.254.0.0/16", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"]
METADATA_V6 = ["fe80::/10", "fd00:ec2::254/128", "fd20:ce::254/128"]


def image_model(namespace: str = "n") -> ImageModel:
    spec = {"parameters": {"model": "x/y"}}
    return ImageModel.from_object({"metadata": {"name": "m", "namespace": namespace, "uid": "1"}, "spec": spec})


def settings(**given: Any) -> OperatorSettings:
    return OperatorSettings.model_validate({"gateway_pod_labels": {"app": "gateway"}, **given})


def callers(policy: dict[str, Any]) -> list[dict[str, Any]]:
    (rule,) = policy["spec"]["ingress"]
    peers: list[dict[str, Any]] = rule["from"]
    return peers


def selects(policy: dict[str, Any], labels: dict[str, str]) -> bool:
    wanted: dict[str, str] = policy["spec"]["podSelector"]["matchLabels"]
    return wanted.items() <= labels.items()


def test_gateways_alone_reach_a_runtime_that_reaches_nobody() -> None:
    spec = plan_network_policy(model=image_model(), settings=settings())["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["egress"] == []
    assert spec["ingress"] == [{"from": [{"podSelector": GATEWAYS}], "ports": [{"port": 8080, "protocol": "TCP"}]}]


def test_a_runtime_reaches_the_collector_of_traces_alone_where_there_is_one() -> None:
    given = settings(collector_pod_labels={"app": "collector"}, collector_namespace_labels={"team": "ops"})
    names, collector = plan_network_policy(model=image_model(), settings=given)["spec"]["egress"]
    assert {(port["protocol"], port["port"]) for port in names["ports"]} == {("UDP", 53), ("TCP", 53)}
    assert collector == {
        "to": [
            {
                "podSelector": {"matchLabels": {"app": "collector"}},
                "namespaceSelector": {"matchLabels": {"team": "ops"}},
            }
        ]
    }


def test_the_scraper_and_the_nodes_come_in_where_the_administrator_says_so() -> None:
    given = settings(
        metrics_pod_labels={"app": "prometheus"},
        metrics_namespace_labels={"team": "ops"},
        probe_networks="10.0.0.0/8, fd00::/64",
    )
    assert callers(plan_network_policy(model=image_model(), settings=given)) == [
        {"podSelector": GATEWAYS},
        {"podSelector": SCRAPERS, "namespaceSelector": {"matchLabels": {"team": "ops"}}},
        {"ipBlock": {"cidr": "10.0.0.0/8"}},
        {"ipBlock": {"cidr": "fd00::/64"}},
    ]


def test_a_namespace_without_pods_lets_no_scraper_in() -> None:
    given = settings(metrics_namespace_labels={"team": "ops"})
    assert callers(plan_network_policy(model=image_model(), settings=given)) == [{"podSelector": GATEWAYS}]


def test_the_policies_of_runtime_and_fetcher_do_not_select_each_other() -> None:
    runtime = plan_network_policy(model=image_model(), settings=settings())
    fetcher = plan_fetcher_network_policy(model=image_model(), settings=settings())
    assert fetcher["metadata"]["name"] != runtime["metadata"]["name"]
    runtime_pod, fetcher_pod = naming.child_labels("m"), naming.fetcher_labels("m")
    assert (selects(runtime, runtime_pod), selects(runtime, fetcher_pod)) == (True, False)
    assert (selects(fetcher, runtime_pod), selects(fetcher, fetcher_pod)) == (False, True)
    assert not selects(fetcher, naming.fetcher_labels("other"))


def test_a_fetcher_tells_the_operator_how_far_it_is_and_goes_out_but_to_metadata() -> None:
    spec = plan_fetcher_network_policy(model=image_model(), settings=settings())["spec"]
    (rule,) = spec["ingress"]
    assert rule["ports"] == [{"port": naming.FETCHER_PORT, "protocol": "TCP"}]
    assert rule["from"] == [{"podSelector": {"matchLabels": dict(settings().operator_pod_labels)}}]
    names, everywhere = spec["egress"]
    assert {(port["protocol"], port["port"]) for port in names["ports"]} == {("UDP", 53), ("TCP", 53)}
    blocks = {peer["ipBlock"]["cidr"]: peer["ipBlock"]["except"] for peer in everywhere["to"] if "ipBlock" in peer}
    assert blocks["0.0.0.0/0"] == METADATA
    assert blocks["::/0"] == METADATA_V6


def test_a_fetcher_reaches_pods_as_pods_unless_the_administrator_closes_them() -> None:
    def peers(**given: Any) -> list[dict[str, Any]]:
        _, everywhere = plan_fetcher_network_policy(model=image_model(), settings=settings(**given))["spec"]["egress"]
        found: list[dict[str, Any]] = everywhere["to"]
        return found

    assert {"namespaceSelector": {}} in peers()
    closed = peers(fetcher_reaches_pods=False, fetcher_blocked_networks="10.0.0.0/8, 169.254.0.0/16")
    assert closed == [
        {"ipBlock": {"cidr": "0.0.0.0/0", "except": [*METADATA, "10.0.0.0/8"]}},
        {"ipBlock": {"cidr": "::/0", "except": METADATA_V6}},
    ]


def test_a_pod_that_fetches_itself_may_go_out() -> None:
    fetcher = plan_fetcher_network_policy(model=image_model(), settings=settings())
    policy = plan_network_policy(model=image_model(), settings=settings(), fetches=True)
    assert policy["spec"]["egress"] == fetcher["spec"]["egress"]


@pytest.mark.parametrize("given", [{}, {"probe_networks": "10.0.0.0/8", "fetcher_blocked_networks": "fd00::/8"}])
def test_the_api_server_takes_them(cluster: ControlPlane, namespace: str, given: dict[str, Any]) -> None:
    model = image_model(namespace)
    policies = [
        plan_network_policy(model=model, settings=settings(**given)),
        plan_network_policy(model=model, settings=settings(**given), fetches=True),
        plan_fetcher_network_policy(model=model, settings=settings(**given)),
    ]
    bundle = json.dumps({"apiVersion": "v1", "kind": "List", "items": policies})
    cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "--filename", "-", input=bundle)


def test_a_range_with_host_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="probe_networks"):
        settings(probe_networks="10.0.0.1/8")
