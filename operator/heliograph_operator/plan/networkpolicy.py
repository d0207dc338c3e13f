"""The NetworkPolicy of a model's pods: gateways may come in, nothing goes out."""

from heliograph_api import naming
from heliograph_api.manifest import ImageModel
from heliograph_operator.plan.metadata import new_child
from heliograph_operator.resources import NETWORK_POLICIES, Object
from heliograph_operator.settings import OperatorSettings


def plan_network_policy(*, model: ImageModel, settings: OperatorSettings) -> Object:
    """Return the NetworkPolicy.

    Egress is in `policyTypes` without a rule, so that even DNS is closed: a runtime never needs an address of its own
    choosing, and a request must not be able to make it call one.
    """
    gateways: Object = {"podSelector": {"matchLabels": dict(settings.gateway_pod_labels)}}
    if settings.gateway_namespace_labels:
        gateways["namespaceSelector"] = {"matchLabels": dict(settings.gateway_namespace_labels)}
    return {
        **new_child(resource=NETWORK_POLICIES, model=model),
        "spec": {
            "podSelector": {"matchLabels": naming.selector_labels(model.name)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [gateways], "ports": [{"port": naming.RUNTIME_PORT, "protocol": "TCP"}]}],
        },
    }
