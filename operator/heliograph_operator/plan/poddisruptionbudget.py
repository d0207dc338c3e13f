"""The PodDisruptionBudget of a model: a drain of nodes takes its replicas one after the other, if they can be apart."""

from heliograph_api import naming
from heliograph_api.manifest import ImageModel
from heliograph_operator.plan.metadata import new_child
from heliograph_operator.plan.weights import PlannedWeights
from heliograph_operator.resources import POD_DISRUPTION_BUDGETS, Object


def plan_pod_disruption_budget(*, model: ImageModel, weights: PlannedWeights) -> Object:
    """Return the PodDisruptionBudget.

    One replica may always go, so that it never bars the drain of a node; and one that is not ready never counts, since
    to keep it serves nobody (KEP-3017). Replicas that are held to one node may go all at once: the successor of one
    that went alone could be placed on that node only, and the drain would wait for it for ever.
    """
    return {
        **new_child(resource=POD_DISRUPTION_BUDGETS, model=model),
        "spec": {
            "maxUnavailable": "100%" if weights.is_on_one_node else 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": naming.selector_labels(model.name)},
        },
    }
