"""The volume that holds a model's weights."""

from dataclasses import dataclass

from heliograph_api.manifest import ImageModel
from heliograph_operator.plan.runtime import MODELS_DIR
from heliograph_operator.resources import Object

_VOLUME = "models"


@dataclass(frozen=True)
class WeightsVolume:
    """A volume of the pod and its mount in the runtime's container."""

    volume: Object
    mount: Object


def plan_weights(*, model: ImageModel) -> WeightsVolume:
    """Return the volume of `spec.serving.cache`: its claim, read-only, or else an empty folder."""
    cache = model.spec.serving.cache
    mount: Object = {"name": _VOLUME, "mountPath": MODELS_DIR, "readOnly": True}
    if cache is None or cache.existing_claim is None:
        return WeightsVolume(volume={"name": _VOLUME, "emptyDir": {}}, mount=mount)
    if cache.sub_path:
        mount["subPath"] = cache.sub_path
    claim = {"claimName": cache.existing_claim, "readOnly": True}
    return WeightsVolume(volume={"name": _VOLUME, "persistentVolumeClaim": claim}, mount=mount)
