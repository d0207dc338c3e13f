"""The Deployment of a model's runtime."""

from heliograph_api import naming
from heliograph_api.manifest import ImageModel
from heliograph_operator.drift import PLAN_HASH_ANNOTATION
from heliograph_operator.plan.attachment import claim_labels
from heliograph_operator.plan.configmap import config_hash
from heliograph_operator.plan.engines import EngineRuntime
from heliograph_operator.plan.fetcher import manifest_annotation
from heliograph_operator.plan.hardware import Hardware
from heliograph_operator.plan.metadata import new_child
from heliograph_operator.plan.pod import CONFIG_HASH_ANNOTATION, group_labels, plan_pod, startup_seconds
from heliograph_operator.plan.weights import PlannedWeights
from heliograph_operator.resources import DEPLOYMENTS, Object
from heliograph_operator.settings import OperatorSettings

_REVISIONS_KEPT = 3
_SURGE = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
_IN_PLACE = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}


def plan_deployment(
    *,
    model: ImageModel,
    settings: OperatorSettings,
    engine: EngineRuntime,
    hardware: Hardware,
    weights: PlannedWeights,
    size: int | None,
) -> Object:
    """Return the Deployment; `size` are the bytes of the weights as far as they are known.

    A change of what the runtime reads, its image or its pod rolls the pods; a change of replicas or of routes does not.
    """
    annotations = {CONFIG_HASH_ANNOTATION: config_hash(model=model, weights=weights)}
    if weights.mode == "ephemeral":
        annotations |= manifest_annotation(model)
    return {
        **new_child(resource=DEPLOYMENTS, model=model),
        "spec": {
            "replicas": wanted_replicas(model=model),
            "revisionHistoryLimit": _REVISIONS_KEPT,
            # The deadline of a rollout comes after that of a pod, so that the pod's own failure is what is reported.
            "progressDeadlineSeconds": startup_seconds(size) + 300,
            "selector": {"matchLabels": naming.selector_labels(model.name)},
            # A volume for one pod is of no use to a new one before the old one has gone.
            "strategy": _IN_PLACE if weights.is_for_one_pod else _SURGE,
            "template": {
                "metadata": {
                    "labels": {
                        **hardware.pod_labels,
                        **naming.child_labels(model.name),
                        **group_labels(model=model),
                        **claim_labels(weights),
                    },
                    "annotations": {**hardware.pod_annotations, **annotations},
                },
                "spec": plan_pod(
                    model=model, settings=settings, engine=engine, hardware=hardware, weights=weights, size=size
                ),
            },
        },
    }


def in_place(deployment: Object) -> Object:
    """Return a planned Deployment whose old pods end before new ones come, one at a time."""
    return {**deployment, "spec": {**deployment["spec"], "strategy": _IN_PLACE}}


def is_in_place(deployment: Object) -> bool:
    """Return whether the old pods of a Deployment, as it was read, end before new ones come."""
    return bool(deployment["spec"].get("strategy") == _IN_PLACE)


def resized(deployment: Object, *, replicas: int) -> Object:
    """Return a Deployment as it was read, but for its size, to be applied as it is.

    It is for a Deployment whose next template has to wait, such as for its weights. It is none that was planned, and
    bears no digest that could be taken for its plan's. What others have changed since it was read is not set back: the
    API server takes it as a conflict.
    """
    metadata = {**deployment["metadata"]}
    annotations = metadata.get("annotations") or {}
    metadata["annotations"] = {key: text for key, text in annotations.items() if key != PLAN_HASH_ANNOTATION}
    kept = ("name", "namespace", "resourceVersion", "labels", "annotations", "ownerReferences")
    return {
        "apiVersion": deployment["apiVersion"],
        "kind": deployment["kind"],
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "spec": {**deployment["spec"], "replicas": replicas},
    }


def wanted_replicas(*, model: ImageModel) -> int:
    """Return the number of replicas: `spec.serving.replicas`, and none of a disabled model or an alias."""
    return 0 if model.spec.disabled or model.spec.alias else model.spec.serving.replicas
