"""HorizontalPodAutoscalers that set the size of an ImageModel too."""

from collections.abc import Iterable, Mapping
from typing import Any

from heliograph_operator.inventory import Key
from heliograph_operator.ownership import is_image_model
from heliograph_operator.resources import Object


def target_of(autoscaler: Mapping[str, Any]) -> Key | None:
    """Return the ImageModel that a HorizontalPodAutoscaler scales (k8s.io/api/autoscaling/v2); None if another kind."""
    target = (autoscaler.get("spec") or {}).get("scaleTargetRef") or {}
    return Key(autoscaler["metadata"]["namespace"], target["name"]) if is_image_model(target) else None


def rivals_of(key: Key, autoscalers: Iterable[Object]) -> list[str]:
    """Return the names of the HorizontalPodAutoscalers that scale an ImageModel."""
    return sorted(found["metadata"]["name"] for found in autoscalers if target_of(found) == key)
