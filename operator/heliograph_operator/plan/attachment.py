"""Where the pods of a volume run: together, where it can be attached to one node at a time.

A pod that is placed elsewhere would wait for it for as long as another one has it. The scheduler lets the first pod go
where it likes, since that matches its own term, and counts none that has ended
(k8s.io/kubernetes/pkg/scheduler/framework/plugins/interpodaffinity).
"""

from heliograph_api import naming
from heliograph_api.manifest import ImageModel
from heliograph_operator.plan.weights import PlannedWeights
from heliograph_operator.resources import Object

NODE = "kubernetes.io/hostname"
CLAIM_LABEL = f"{naming.GROUP}/claim"
"""Label of the pods of a claim that was given; its value is `child_name` of the claim's."""


def claim_labels(weights: PlannedWeights) -> dict[str, str]:
    """Return the pod labels by which the pods of a claim find each other, be they of several models."""
    if weights.mode != "existing" or not weights.is_on_one_node:
        return {}
    return {CLAIM_LABEL: naming.child_name(str(weights.claim))}


def beside_the_volume(*, model: ImageModel, weights: PlannedWeights) -> Object:
    """Return the `affinity` that holds a pod to the node of the others that mount its volume; empty where none does."""
    if not weights.is_on_one_node:
        return {}
    # What fetches into a model's own volume is among them.
    own = {naming.MANAGED_BY_LABEL: naming.MANAGED_BY, naming.MODEL_LABEL: naming.child_name(model.name)}
    term = {"labelSelector": {"matchLabels": claim_labels(weights) or own}, "topologyKey": NODE}
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
