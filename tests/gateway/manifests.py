"""ImageModels for the gateway's tests."""

from typing import Any

from heliograph_api.manifest import ImageModel


def image_model(name: str, namespace: str = "default", /, **spec: Any) -> ImageModel:
    """Return an ImageModel with a given spec; one that names neither weights nor an alias gets weights."""
    if "alias" not in spec:
        spec.setdefault("parameters", {"model": "weights"})
    return ImageModel.from_object({"metadata": {"name": name, "namespace": namespace}, "spec": spec})
