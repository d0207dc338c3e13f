"""The PodDisruptionBudget of a model: a drain of nodes takes its replicas one after the other."""

from heliograph_api import naming
from heliograph_api.manifest import ImageModel
from heliograph_operator.plan.metadata import new_child
from heliograph_operator.resources import POD_DISRUPTION_BUDGETS, Object


def plan_pod_disruption_budget(*, model: ImageModel) -> Object:
    """Return the PodDisruptionBudget.

    One replica may always go, so that it never bars the drain of a node; and one that is not ready never counts, since
    to keep it serves nobody (KEP-3017).
    """
    return {
        **new_child(resource=POD_DISRUPTION_BUDGETS, model=model),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": naming.selector_labels(model.name)},
        },
    }
