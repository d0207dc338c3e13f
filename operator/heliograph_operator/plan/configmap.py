"""The ConfigMap from which a runtime reads what to serve."""

import hashlib
import json

from heliograph_api.manifest import ImageModel
from heliograph_operator.plan.metadata import new_child
from heliograph_operator.plan.runtime import MANIFEST_FILE, runtime_manifest
from heliograph_operator.plan.weights import PlannedWeights
from heliograph_operator.resources import CONFIG_MAPS, Object


def plan_config_map(*, model: ImageModel, weights: PlannedWeights) -> Object:
    """Return the ConfigMap."""
    return {**new_child(resource=CONFIG_MAPS, model=model), "data": {MANIFEST_FILE: _manifest_text(model, weights)}}


def config_hash(*, model: ImageModel, weights: PlannedWeights) -> str:
    """Return a digest of what the runtime reads; a pod that carries another one is out of date."""
    return hashlib.sha256(_manifest_text(model, weights).encode()).hexdigest()[:16]


def _manifest_text(model: ImageModel, weights: PlannedWeights) -> str:
    # Sorted, so that the same spec in another order is the same text.
    return json.dumps(runtime_manifest(model, weights.spec), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
