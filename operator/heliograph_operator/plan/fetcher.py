"""The Job that fetches a model's weights into its claim, and the container that does it.

The container is told what to fetch by a file that is made from an annotation of its own pod: an edit of the ImageModel
can't reach a fetch that is under way, which would put the wrong files under the old name.
"""

import json
from collections.abc import Sequence
from typing import Any

from heliograph_api import naming
from heliograph_api.exits import FETCH_PERMANENT
from heliograph_api.manifest import ImageModel
from heliograph_operator.drift import with_plan_hash
from heliograph_operator.plan.attachment import beside_the_volume
from heliograph_operator.plan.authorities import authorities_environment, authorities_mounts, authorities_volumes
from heliograph_operator.plan.hardware import Hardware
from heliograph_operator.plan.images import pull_secrets
from heliograph_operator.plan.metadata import new_child
from heliograph_operator.plan.restricted import CONTAINER_SECURITY, SCRATCH, SCRATCH_MOUNT, WRITER_SECURITY
from heliograph_operator.plan.weights import VOLUME, PlannedWeights
from heliograph_operator.resources import JOBS, Object
from heliograph_operator.settings import OperatorSettings

CONTAINER = "fetch"
MANIFEST_ANNOTATION = f"{naming.GROUP}/manifest"
MANIFEST_VOLUME = "manifest"
VOLUME_DIR = "/weights"
WHEN_DISRUPTED: Object = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
"""Rule of a podFailurePolicy: an eviction is no failure at all."""
TRIES = 6
"""With Kubernetes' doubling pauses from 10 s on, some ten minutes of tries; each goes on where the last one ended."""
GRACE_SECONDS = 10
"""Between the news that a pod that writes weights is to end and its end."""

_MANIFEST_DIR = "/etc/heliograph/fetch"
_MANIFEST_FILE = "model.json"
_TOLD = ("backend", "parameters", "diffusers", "options", "f16", "lora_adapter", "lora_adapters", "download_files")
_TOLD_OF_SERVING = ("cache",)
_GPU_LABELS = {
    "nvidia.com": "nvidia.com/gpu.present",
    "amd.com": "feature.node.kubernetes.io/amd-gpu",
    "gpu.intel.com": "intel.feature.node.kubernetes.io/gpu",
}
"""By the domain of a device's name, what the vendor's GPU feature discovery labels `true` on the nodes that have it."""


def plan_fetch_job(
    *,
    model: ImageModel,
    settings: OperatorSettings,
    hardware: Hardware,
    weights: PlannedWeights,
    keep: Sequence[str] | None,
) -> Object:
    """Return the Job that fills `weights.folder`.

    It runs where the runtime may run, so that a volume that is made for its first pod is made where the GPU is; and
    beside pods that serve what is there so far, if the volume can be attached to their node alone.

    Args:
        model: The ImageModel.
        settings: The operator's settings.
        hardware: What the runtime runs on.
        weights: What is fetched, and where to.
        keep: Folders of the volume that are in use beside it; others are removed. None for a volume that others fetch
            into as well: whatever is in use when the Job is made, more may be once it has ended. The folders are other
            ones each time that the model is looked at, so that it is no other Job for them.
    """
    labels = naming.fetcher_labels(model.name)
    job = new_child(resource=JOBS, model=model, name=weights.folder, labels=labels)
    pod: Object = {
        "restartPolicy": "Never",
        "serviceAccountName": naming.child_name(model.name),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": WRITER_SECURITY,
        "containers": [fetch_container(model=model, settings=settings, weights=weights)],
        "volumes": [
            *input_volumes(settings),
            {"name": VOLUME, "persistentVolumeClaim": {"claimName": weights.claim}},
            SCRATCH,
        ],
        **pull_secrets(settings),
    }
    if hardware.node_selector:
        pod["nodeSelector"] = dict(hardware.node_selector)
    if hardware.tolerations:
        pod["tolerations"] = hardware.tolerations
    if hardware.priority_class_name:
        pod["priorityClassName"] = hardware.priority_class_name
    if affinity := _affinity(model=model, hardware=hardware, weights=weights):
        pod["affinity"] = affinity
    template = {"metadata": {"labels": labels, "annotations": manifest_annotation(model)}, "spec": pod}
    spec = {"backoffLimit": TRIES, "podFailurePolicy": _failure_policy(), "template": template}
    planned = with_plan_hash({**job, "spec": spec})
    if keep is not None:
        pod["containers"][0]["args"] += ["--keep", ",".join(keep)]
    return planned


def _affinity(*, model: ImageModel, hardware: Hardware, weights: PlannedWeights) -> Object:
    affinity = beside_the_volume(model=model, weights=weights)
    domains = {device.partition("/")[0] for device in hardware.resources.get("limits", {})}
    if weights.is_on_one_node and (labels := [_GPU_LABELS[it] for it in sorted(domains & _GPU_LABELS.keys())]):
        # It takes no GPU, so that nothing else draws it, and with it a volume of one node's, to where there are some.
        preferred = [{"weight": 100, "preference": _has_label(label)} for label in labels]
        affinity["nodeAffinity"] = {"preferredDuringSchedulingIgnoredDuringExecution": preferred}
    return affinity


def _has_label(label: str) -> Object:
    return {"matchExpressions": [{"key": label, "operator": "In", "values": ["true"]}]}


def fetch_container(*, model: ImageModel, settings: OperatorSettings, weights: PlannedWeights) -> Object:
    """Return the container that fetches, the only one that is given the token of a private repository."""
    container: Object = {
        "name": CONTAINER,
        "image": settings.fetcher_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["heliograph", "fetch"],
        "args": [
            *("--manifest", f"{_MANIFEST_DIR}/{_MANIFEST_FILE}"),
            *("--volume", VOLUME_DIR),
            *("--name", str(weights.folder)),
            *("--host", "0.0.0.0"),  # noqa: S104 - the NetworkPolicy decides who comes in
            *("--port", str(naming.FETCHER_PORT)),
        ],
        "env": _environment(model, settings),
        "ports": [{"name": "http", "containerPort": naming.FETCHER_PORT, "protocol": "TCP"}],
        "resources": settings.fetcher_resources.model_dump(by_alias=True, exclude_none=True),
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": MANIFEST_VOLUME, "mountPath": _MANIFEST_DIR, "readOnly": True},
            *authorities_mounts(settings),
            {"name": VOLUME, "mountPath": VOLUME_DIR},
            SCRATCH_MOUNT,
        ],
    }
    if settings.fetcher_secret:
        # Of the model's own namespace, such as the keys of a bucket; a namespace need not have it.
        container["envFrom"] = [{"secretRef": {"name": settings.fetcher_secret, "optional": True}}]
    return container


def manifest_annotation(model: ImageModel) -> dict[str, str]:
    """Return the annotation of the pod that tells its fetcher what to fetch."""
    spec: dict[str, Any] = {key: model.raw_spec[key] for key in (*_TOLD, "artifacts") if key in model.raw_spec}
    given = model.raw_spec.get("serving") or {}
    if serving := {key: given[key] for key in _TOLD_OF_SERVING if key in given}:
        spec["serving"] = serving
    manifest = {
        "apiVersion": naming.API_VERSION,
        "kind": naming.KIND,
        "metadata": {"name": model.name},
        "spec": spec,
    }
    return {MANIFEST_ANNOTATION: json.dumps(manifest, sort_keys=True, ensure_ascii=False)}


def input_volumes(settings: OperatorSettings) -> list[Object]:
    """Return the volumes that the container reads: the manifest as a file, and the authorities that it trusts."""
    path = {"path": _MANIFEST_FILE, "fieldRef": {"fieldPath": f"metadata.annotations['{MANIFEST_ANNOTATION}']"}}
    return [{"name": MANIFEST_VOLUME, "downwardAPI": {"items": [path]}}, *authorities_volumes(settings)]


def _environment(model: ImageModel, settings: OperatorSettings) -> list[Object]:
    given = {**authorities_environment(settings), **settings.fetcher_env}
    env: list[Object] = [{"name": name, "value": value} for name, value in sorted(given.items())]
    env.append({"name": "HOME", "value": "/tmp"})  # noqa: S108 - the pod's own emptyDir
    if token := model.spec.serving.hf_token_secret_ref:
        reference = {"name": token.name, "key": token.key}
        env.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": reference}})
    return env


def _failure_policy() -> Object:
    """Return what ends the Job at once: what no further try can mend."""
    codes = {"containerName": CONTAINER, "operator": "In", "values": [FETCH_PERMANENT]}
    return {
        "rules": [
            WHEN_DISRUPTED,
            {"action": "FailJob", "onExitCodes": codes},
        ]
    }
