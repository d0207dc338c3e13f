"""The Deployment of a model's runtime."""

from heliograph_api import naming
from heliograph_api.manifest import ImageModel
from heliograph_operator.plan.configmap import config_hash
from heliograph_operator.plan.engines import EngineRuntime
from heliograph_operator.plan.hardware import Hardware
from heliograph_operator.plan.metadata import new_child
from heliograph_operator.plan.pod import CONFIG_HASH_ANNOTATION, STARTUP_SECONDS, group_labels, plan_pod
from heliograph_operator.resources import DEPLOYMENTS, Object
from heliograph_operator.settings import OperatorSettings

_REVISIONS_KEPT = 3


def plan_deployment(
    *, model: ImageModel, settings: OperatorSettings, engine: EngineRuntime, hardware: Hardware
) -> Object:
    """Return the Deployment.

    A change of what the runtime reads, its image or its pod rolls the pods; a change of replicas or of routes does not.
    """
    return {
        **new_child(resource=DEPLOYMENTS, model=model),
        "spec": {
            "replicas": wanted_replicas(model=model),
            "revisionHistoryLimit": _REVISIONS_KEPT,
            # The deadline of a rollout comes after that of a pod, so that the pod's own failure is what is reported.
            "progressDeadlineSeconds": STARTUP_SECONDS + 300,
            "selector": {"matchLabels": naming.selector_labels(model.name)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {
                    "labels": {**naming.child_labels(model.name), **group_labels(model=model)},
                    "annotations": {CONFIG_HASH_ANNOTATION: config_hash(model=model)},
                },
                "spec": plan_pod(model=model, settings=settings, engine=engine, hardware=hardware),
            },
        },
    }


def wanted_replicas(*, model: ImageModel) -> int:
    """Return the number of replicas: `spec.serving.replicas`, and none of a disabled model or an alias."""
    return 0 if model.spec.disabled or model.spec.alias else model.spec.serving.replicas
