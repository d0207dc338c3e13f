"""The NetworkPolicies of a model: who may come in to its runtime, and where its fetcher may go.

A runtime answers gateways, the metrics' scraper and the kubelet's probes, and calls nobody but a collector of traces. A
fetcher goes out to where the weights are, and tells the operator how far it is.
"""

from collections.abc import Mapping
from ipaddress import IPv4Network, ip_network

from heliograph_api import naming
from heliograph_api.manifest import ImageModel
from heliograph_operator.plan.metadata import new_child
from heliograph_operator.resources import NETWORK_POLICIES, Object
from heliograph_operator.settings import OperatorSettings

_METADATA = tuple(
    ip_network(network)
    for network in (
        *("169.254.0.0/16", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"),
        *("fe80::/10", "fd00:ec2::254/128", "fd20:ce::254/128"),
    )
)
"""Where the metadata services of clouds are, which give credentials to whoever asks from a node."""
_DNS = [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]


def plan_network_policy(*, model: ImageModel, settings: OperatorSettings, fetches: bool = False) -> Object:
    """Return the NetworkPolicy of the runtime's pods.

    Without egress rules even DNS is closed: a runtime never needs an address of its own choosing, and a request must
    not be able to make it call one. The pods that collect traces may be opened to it, and DNS with them.

    Args:
        model: The ImageModel.
        settings: The operator's settings.
        fetches: Whether a pod fetches its weights itself before its runtime starts; a policy cannot tell one container
            of a pod from another.
    """
    return {
        **new_child(resource=NETWORK_POLICIES, model=model),
        "spec": {
            "podSelector": {"matchLabels": naming.selector_labels(model.name)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [_ingress(_callers(settings), naming.RUNTIME_PORT)],
            # An empty list, not an absent one, so that the field is ours and a rule of somebody else's shows.
            "egress": _egress(settings) if fetches else _to_collector(settings),
        },
    }


def plan_fetcher_network_policy(*, model: ImageModel, settings: OperatorSettings) -> Object:
    """Return the NetworkPolicy of the pods that fetch the weights."""
    labels = naming.fetcher_labels(model.name)
    policy = new_child(resource=NETWORK_POLICIES, model=model)
    policy["metadata"] |= {"name": f"{naming.child_name(model.name)}-fetcher", "labels": labels}
    operator = _pods(settings.operator_pod_labels, settings.operator_namespace_labels)
    return {
        **policy,
        "spec": {
            "podSelector": {"matchLabels": labels},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [_ingress([operator], naming.FETCHER_PORT)],
            "egress": _egress(settings),
        },
    }


def _to_collector(settings: OperatorSettings) -> list[Object]:
    if not settings.collector_pod_labels:
        return []
    peer = _pods(settings.collector_pod_labels, settings.collector_namespace_labels)
    return [{"ports": _DNS}, {"to": [peer]}]


def _callers(settings: OperatorSettings) -> list[Object]:
    callers = [_pods(settings.gateway_pod_labels, settings.gateway_namespace_labels)]
    if settings.metrics_pod_labels:
        callers.append(_pods(settings.metrics_pod_labels, settings.metrics_namespace_labels))
    return callers + [{"ipBlock": {"cidr": str(network)}} for network in settings.probe_networks]


def _pods(labels: Mapping[str, str], namespace_labels: Mapping[str, str]) -> Object:
    """Return the peer that stands for some pods; without labels of a namespace, for those of the model's own."""
    peer: Object = {"podSelector": {"matchLabels": dict(labels)}}
    return {**peer, "namespaceSelector": {"matchLabels": dict(namespace_labels)}} if namespace_labels else peer


def _ingress(peers: list[Object], port: int) -> Object:
    return {"from": peers, "ports": [{"port": port, "protocol": "TCP"}]}


def _egress(settings: OperatorSettings) -> list[Object]:
    blocked = dict.fromkeys((*_METADATA, *settings.fetcher_blocked_networks))
    v4 = [str(network) for network in blocked if isinstance(network, IPv4Network)]
    v6 = [str(network) for network in blocked if not isinstance(network, IPv4Network)]
    # Some network plugins hold that address ranges are never those of pods, such as of a mirror.
    pods: list[Object] = [{"namespaceSelector": {}}] if settings.fetcher_reaches_pods else []
    outside = [{"ipBlock": {"cidr": "0.0.0.0/0", "except": v4}}, {"ipBlock": {"cidr": "::/0", "except": v6}}]
    # Names apart, since a resolver on each node has a link-local address, where the metadata of clouds are too.
    return [{"ports": _DNS}, {"to": [*pods, *outside]}]
