"""The pod of a runtime, fit for the *restricted* Pod Security Standard (kubernetes.io/docs/concepts/security)."""

from collections.abc import Mapping
from typing import Any

from heliograph_api import naming
from heliograph_api.manifest import ImageModel
from heliograph_operator.plan.attachment import NODE, beside_the_volume
from heliograph_operator.plan.engines import EngineRuntime
from heliograph_operator.plan.fetcher import fetch_container, input_volumes
from heliograph_operator.plan.hardware import Hardware
from heliograph_operator.plan.images import pull_secrets
from heliograph_operator.plan.restricted import CONTAINER_SECURITY, POD_SECURITY, SCRATCH, SCRATCH_MOUNT
from heliograph_operator.plan.runtime import MANIFEST_DIR, MANIFEST_FILE, MODELS_DIR, runtime_args
from heliograph_operator.plan.weights import PlannedWeights
from heliograph_operator.resources import Object
from heliograph_operator.settings import OperatorSettings

CONFIG_HASH_ANNOTATION = f"{naming.GROUP}/config-hash"

_FAREWELL_SECONDS = 3
"""Between the news that a pod is going and its end; gateways hear it from the EndpointSlices, and send until then."""
_LAST_ANSWER_SECONDS = 30
"""Time to notice the end and to write the last answer, beside that of the longest request."""
_STARTUP_PERIOD_SECONDS = 1
"""What a request that wakes a model waits in vain for, half of it on average."""
_STARTUP_SECONDS = 600
_SLOWEST_VOLUME = 20_000_000
"""Bytes in a second; network volumes of clouds give a multiple of it."""
_UNKNOWN_STARTUP_SECONDS = 3600
"""Until weights of unknown size must be loaded."""
_SHARED_MEMORY = "1Gi"
_NODE_DISK = "ephemeral-storage"
_GROUP_LABEL_PREFIX = f"concurrency-group.{naming.GROUP}"


def plan_pod(
    *,
    model: ImageModel,
    settings: OperatorSettings,
    engine: EngineRuntime,
    hardware: Hardware,
    weights: PlannedWeights,
    size: int | None,
) -> dict[str, Any]:
    """Return the pod's `spec`; `size` are the bytes of the weights as far as they are known."""
    container = _container(settings=settings, engine=engine, hardware=hardware, weights=weights.mount, size=size)
    pod: Object = {
        "serviceAccountName": naming.child_name(model.name),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _FAREWELL_SECONDS + settings.runtime_request_seconds + _LAST_ANSWER_SECONDS,
        "securityContext": POD_SECURITY,
        "containers": [container],
        "volumes": [
            {"name": "config", "configMap": {"name": naming.child_name(model.name)}},
            weights.volume,
            SCRATCH,
            # PyTorch's processes exchange tensors through /dev/shm, which a container otherwise has 64 MiB of.
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": _SHARED_MEMORY}},
        ],
    }
    if weights.mode == "ephemeral":
        if (cache := model.spec.serving.cache) and cache.size:
            # The default is a bound, and not what these weights need; many a node has less.
            container["resources"] = _with_room(container.get("resources") or {}, cache.size)
        pod["initContainers"] = [fetch_container(model=model, settings=settings, weights=weights)]
        pod["volumes"] += input_volumes(settings)
    return {**pod, **pull_secrets(settings), **_placement(model=model, hardware=hardware, weights=weights)}


def startup_seconds(size: int | None) -> int:
    """Return the seconds that a runtime may take to get ready with so many bytes of weights; None are unknown."""
    return _UNKNOWN_STARTUP_SECONDS if size is None else _STARTUP_SECONDS + size // _SLOWEST_VOLUME


def group_labels(*, model: ImageModel) -> dict[str, str]:
    """Return the pod labels that say which concurrency groups a model is in."""
    groups = model.spec.concurrency_groups or ()
    return {f"{_GROUP_LABEL_PREFIX}/{naming.child_name(group)}": "member" for group in groups}


def _container(
    *,
    settings: OperatorSettings,
    engine: EngineRuntime,
    hardware: Hardware,
    weights: Object,
    size: int | None,
) -> Object:
    env = {
        **engine.env,
        **settings.tracing_env,
        "HELIOGRAPH_RUNTIME_REQUEST_TIMEOUT_SECONDS": str(settings.runtime_request_seconds),
    }
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
        "env": [{"name": name, "value": value} for name, value in sorted(env.items())],
        "ports": [{"name": naming.RUNTIME_PORT_NAME, "containerPort": naming.RUNTIME_PORT, "protocol": "TCP"}],
        **_probes(engine, startup_seconds(size)),
        "lifecycle": {"preStop": {"sleep": {"seconds": _FAREWELL_SECONDS}}},
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "config", "mountPath": MANIFEST_DIR, "readOnly": True},
            weights,
            SCRATCH_MOUNT,
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - the pod's own emptyDir
        ],
    }
    if hardware.resources:
        container["resources"] = {kind: dict(amounts) for kind, amounts in hardware.resources.items() if amounts}
    return container


def _with_room(resources: Mapping[str, Mapping[str, str]], size: str) -> Object:
    """Return the resources with what the pod's own folder may take of its node's disk, unless they speak of that.

    The kubelet ends pods of a node whose disk is full; the scheduler sees to it that it has room for what is requested.
    """
    if any(_NODE_DISK in amounts for amounts in resources.values()):
        return dict(resources)
    return {**resources, "requests": {**resources.get("requests", {}), _NODE_DISK: size}}


def _probes(engine: EngineRuntime, seconds: int) -> dict[str, Object]:
    readiness = {"httpGet": {"path": engine.readiness_path, "port": naming.RUNTIME_PORT_NAME}}
    liveness = {"httpGet": {"path": engine.liveness_path, "port": naming.RUNTIME_PORT_NAME}}
    return {
        "startupProbe": {
            **readiness,
            "periodSeconds": _STARTUP_PERIOD_SECONDS,
            "failureThreshold": -(-seconds // _STARTUP_PERIOD_SECONDS),
            "timeoutSeconds": 5,
        },
        "readinessProbe": {**readiness, "periodSeconds": 5, "failureThreshold": 2, "timeoutSeconds": 5},
        # A minute of silence: a process that computes on every core answers late, not never.
        "livenessProbe": {**liveness, "periodSeconds": 10, "failureThreshold": 6, "timeoutSeconds": 5},
    }


def _placement(*, model: ImageModel, hardware: Hardware, weights: PlannedWeights) -> Object:
    placement: Object = {}
    if hardware.node_selector:
        placement["nodeSelector"] = dict(hardware.node_selector)
    if hardware.tolerations:
        placement["tolerations"] = hardware.tolerations
    if hardware.runtime_class_name:
        placement["runtimeClassName"] = hardware.runtime_class_name
    if hardware.priority_class_name:
        placement["priorityClassName"] = hardware.priority_class_name
    affinity = beside_the_volume(model=model, weights=weights)
    if groups := group_labels(model=model):
        terms = [_apart_from(label, model) for label in sorted(groups)]
        affinity["podAntiAffinity"] = {"requiredDuringSchedulingIgnoredDuringExecution": terms}
    return {**placement, "affinity": affinity} if affinity else placement


def _apart_from(group_label: str, model: ImageModel) -> Object:
    # The model's own pods are left out: a group bars other models from the node, not further replicas.
    expressions = [
        {"key": group_label, "operator": "Exists"},
        {"key": naming.MODEL_LABEL, "operator": "NotIn", "values": [naming.child_name(model.name)]},
    ]
    return {"labelSelector": {"matchExpressions": expressions}, "topologyKey": NODE}
