"""HorizontalPodAutoscalers that set the size of an ImageModel too, be they somebody's or a ScaledObject's of KEDA's."""

from collections.abc import Iterable, Mapping
from typing import Any

from heliograph_api import naming
from heliograph_operator.inventory import Key
from heliograph_operator.ownership import is_image_model
from heliograph_operator.resources import DEPLOYMENTS, Object


def target_of(autoscaler: Mapping[str, Any]) -> Key | None:
    """Return the ImageModel that a HorizontalPodAutoscaler scales (k8s.io/api/autoscaling/v2); None if another kind."""
    target = _target(autoscaler)
    return Key(autoscaler["metadata"]["namespace"], target["name"]) if is_image_model(target) else None


def deployment_target_of(autoscaler: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return namespace and name of the Deployment that a HorizontalPodAutoscaler scales; None if another kind."""
    target = _target(autoscaler)
    group = str(target.get("apiVersion", "")).partition("/")[0]
    if (group, target.get("kind")) != (DEPLOYMENTS.api_version.partition("/")[0], DEPLOYMENTS.kind):
        return None
    return autoscaler["metadata"]["namespace"], target["name"]


def rivals_of(key: Key, autoscalers: Iterable[Object]) -> list[str]:
    """Return the names of the HorizontalPodAutoscalers that scale an ImageModel."""
    return sorted(found["metadata"]["name"] for found in autoscalers if target_of(found) == key)


def misaimed_at(key: Key, autoscalers: Iterable[Object]) -> list[str]:
    """Return the names of the HorizontalPodAutoscalers that scale the Deployment of an ImageModel.

    The operator sets back what they write: the size of the Deployment is that of the ImageModel.
    """
    deployment = (key.namespace, naming.child_name(key.name))
    return sorted(found["metadata"]["name"] for found in autoscalers if deployment_target_of(found) == deployment)


def _target(autoscaler: Mapping[str, Any]) -> Mapping[str, Any]:
    return (autoscaler.get("spec") or {}).get("scaleTargetRef") or {}
