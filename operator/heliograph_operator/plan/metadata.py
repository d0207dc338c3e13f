"""What every child has in common."""

from collections.abc import Mapping

from heliograph_api import naming
from heliograph_api.manifest import ImageModel
from heliograph_operator.resources import Object, Resource


def new_child(
    *, resource: Resource, model: ImageModel, name: str | None = None, labels: Mapping[str, str] | None = None
) -> Object:
    """Return a child without content: its kind, name, labels, and the ImageModel as its controlling owner."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {
            "name": name or naming.child_name(model.name),
            "namespace": model.namespace,
            "labels": dict(labels or naming.child_labels(model.name)),
            "ownerReferences": [naming.owner_reference(model.name, model.uid)],
        },
    }
