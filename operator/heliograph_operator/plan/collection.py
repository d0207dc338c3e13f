"""The Job that removes a folder of weights from a claim that models share, once no model uses it."""

from collections.abc import Mapping
from math import ceil
from typing import Any

from heliograph_api import naming
from heliograph_operator.plan.fetcher import GRACE_SECONDS, TRIES, VOLUME_DIR, WHEN_DISRUPTED
from heliograph_operator.plan.images import pull_secrets
from heliograph_operator.plan.restricted import CONTAINER_SECURITY, WRITER_SECURITY
from heliograph_operator.plan.weights import VOLUME
from heliograph_operator.resources import CLAIMS, JOBS, NETWORK_POLICIES, Object
from heliograph_operator.settings import OperatorSettings

MODEL_ANNOTATION = f"{naming.GROUP}/model-name"
"""Names the model, which may be gone, where a label could not hold its name."""
JOB_SUFFIX = "-gc"
"""What tells the Jobs from those that fetch, which are called like their folders."""

_POD_LABELS = {naming.MANAGED_BY_LABEL: naming.MANAGED_BY, naming.COMPONENT_LABEL: "collector"}


def job_name(folder: str) -> str:
    """Return the name of the Job that removes a folder."""
    return f"{folder}{JOB_SUFFIX}"


def plan_collect_job(*, claim: Mapping[str, Any], name: str, folder: str, settings: OperatorSettings) -> Object:
    """Return the Job.

    When it has ended, well or not, it goes after as long as a fetch waits for its next try.

    Args:
        claim: The claim, with which the Job goes too.
        name: Name of the model that the folder was for.
        folder: The folder.
        settings: The operator's settings.
    """
    labels = {**_POD_LABELS, naming.MODEL_LABEL: naming.child_name(name)}
    metadata = {**_metadata(claim, job_name(folder), labels), "annotations": {MODEL_ANNOTATION: name}}
    pod: Object = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": WRITER_SECURITY,
        "containers": [_container(folder, settings)],
        "volumes": [{"name": VOLUME, "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}],
        **pull_secrets(settings),
    }
    spec = {
        "backoffLimit": TRIES,
        "ttlSecondsAfterFinished": ceil(settings.fetch_retry_seconds),
        "podFailurePolicy": {"rules": [WHEN_DISRUPTED]},
        # Without the model's label: no policy and no Service of the model's is for these pods.
        "template": {"metadata": {"labels": _POD_LABELS}, "spec": pod},
    }
    return {"apiVersion": JOBS.api_version, "kind": JOBS.kind, "metadata": metadata, "spec": spec}


def plan_collector_network_policy(*, claim: Mapping[str, Any]) -> Object:
    """Return the NetworkPolicy of the Jobs' pods, which nobody calls and which call nobody."""
    return {
        "apiVersion": NETWORK_POLICIES.api_version,
        "kind": NETWORK_POLICIES.kind,
        "metadata": _metadata(claim, f"{claim['metadata']['name']}-gc", _POD_LABELS),
        "spec": {
            "podSelector": {"matchLabels": _POD_LABELS},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [],
            "egress": [],
        },
    }


def _metadata(claim: Mapping[str, Any], name: str, labels: Mapping[str, str]) -> Object:
    owner = {"apiVersion": CLAIMS.api_version, "kind": CLAIMS.kind, "controller": True, "blockOwnerDeletion": False}
    owner |= {key: claim["metadata"][key] for key in ("name", "uid")}
    namespace = claim["metadata"]["namespace"]
    return {"name": name, "namespace": namespace, "labels": dict(labels), "ownerReferences": [owner]}


def _container(folder: str, settings: OperatorSettings) -> Object:
    return {
        "name": "collect",
        "image": settings.fetcher_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["heliograph", "collect"],
        "args": ["--volume", VOLUME_DIR, "--remove", folder],
        "resources": settings.fetcher_resources.model_dump(by_alias=True, exclude_none=True),
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": VOLUME, "mountPath": VOLUME_DIR}],
    }
