"""The pod of a runtime, fit for the *restricted* Pod Security Standard (kubernetes.io/docs/concepts/security)."""

from typing import Any

from heliograph_api import naming
from heliograph_api.manifest import ImageModel
from heliograph_operator.plan.engines import EngineRuntime
from heliograph_operator.plan.hardware import Hardware
from heliograph_operator.plan.runtime import MANIFEST_DIR, MANIFEST_FILE, MODELS_DIR, runtime_args
from heliograph_operator.plan.weights import plan_weights
from heliograph_operator.resources import Object
from heliograph_operator.settings import OperatorSettings

CONFIG_HASH_ANNOTATION = f"{naming.GROUP}/config-hash"

_USER = 65532
_TERMINATION_GRACE_SECONDS = 330
"""The longest request (300 s), and time to notice the end and to write the answer."""
_STARTUP_PERIOD_SECONDS = 5
_STARTUP_FAILURES = 720
"""One hour until the weights must be loaded: tens of gigabytes from a slow volume."""
STARTUP_SECONDS = _STARTUP_PERIOD_SECONDS * _STARTUP_FAILURES
"""Seconds that a runtime may take to get ready."""
_SHARED_MEMORY = "1Gi"
_GROUP_LABEL_PREFIX = f"concurrency-group.{naming.GROUP}"


def plan_pod(
    *, model: ImageModel, settings: OperatorSettings, engine: EngineRuntime, hardware: Hardware
) -> dict[str, Any]:
    """Return the pod's `spec`."""
    weights = plan_weights(model=model)
    pod: Object = {
        "serviceAccountName": naming.child_name(model.name),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _TERMINATION_GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(settings=settings, engine=engine, hardware=hardware, weights=weights.mount)],
        "volumes": [
            {"name": "config", "configMap": {"name": naming.child_name(model.name)}},
            weights.volume,
            {"name": "tmp", "emptyDir": {}},
            # PyTorch's processes exchange tensors through /dev/shm, which a container otherwise has 64 MiB of.
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": _SHARED_MEMORY}},
        ],
    }
    return {**pod, **_placement(model=model, hardware=hardware)}


def group_labels(*, model: ImageModel) -> dict[str, str]:
    """Return the pod labels that say which concurrency groups a model is in."""
    groups = model.spec.concurrency_groups or ()
    return {f"{_GROUP_LABEL_PREFIX}/{naming.child_name(group)}": "member" for group in groups}


def _container(*, settings: OperatorSettings, engine: EngineRuntime, hardware: Hardware, weights: Object) -> Object:
    container: Object = {
        "name": "runtime",
        "image": hardware.image or engine.image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["heliograph", "runtime"],
        "args": runtime_args(
            manifest=f"{MANIFEST_DIR}/{MANIFEST_FILE}",
            models_dir=MODELS_DIR,
            host="0.0.0.0",  # noqa: S104 - the NetworkPolicy decides who comes in
            port=naming.RUNTIME_PORT,
        ),
        "env": [{"name": name, "value": value} for name, value in sorted(engine.env.items())],
        "ports": [{"name": naming.RUNTIME_PORT_NAME, "containerPort": naming.RUNTIME_PORT, "protocol": "TCP"}],
        **_probes(engine),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "config", "mountPath": MANIFEST_DIR, "readOnly": True},
            weights,
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own emptyDir
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - the pod's own emptyDir
        ],
    }
    if hardware.resources:
        container["resources"] = {kind: dict(amounts) for kind, amounts in hardware.resources.items() if amounts}
    return container


def _probes(engine: EngineRuntime) -> dict[str, Object]:
    readiness = {"httpGet": {"path": engine.readiness_path, "port": naming.RUNTIME_PORT_NAME}}
    liveness = {"httpGet": {"path": engine.liveness_path, "port": naming.RUNTIME_PORT_NAME}}
    return {
        "startupProbe": {
            **readiness,
            "periodSeconds": _STARTUP_PERIOD_SECONDS,
            "failureThreshold": _STARTUP_FAILURES,
            "timeoutSeconds": 5,
        },
        "readinessProbe": {**readiness, "periodSeconds": 5, "failureThreshold": 2, "timeoutSeconds": 5},
        # A minute of silence: a process that computes on every core answers late, not never.
        "livenessProbe": {**liveness, "periodSeconds": 10, "failureThreshold": 6, "timeoutSeconds": 5},
    }


def _placement(*, model: ImageModel, hardware: Hardware) -> Object:
    placement: Object = {}
    if hardware.node_selector:
        placement["nodeSelector"] = dict(hardware.node_selector)
    if hardware.tolerations:
        placement["tolerations"] = hardware.tolerations
    if hardware.runtime_class_name:
        placement["runtimeClassName"] = hardware.runtime_class_name
    if groups := group_labels(model=model):
        terms = [_apart_from(label, model) for label in sorted(groups)]
        placement["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    return placement


def _apart_from(group_label: str, model: ImageModel) -> Object:
    # The model's own pods are left out: a group bars other models from the node, not further replicas.
    expressions = [
        {"key": group_label, "operator": "Exists"},
        {"key": naming.MODEL_LABEL, "operator": "NotIn", "values": [naming.child_name(model.name)]},
    ]
    return {"labelSelector": {"matchExpressions": expressions}, "topologyKey": "kubernetes.io/hostname"}
