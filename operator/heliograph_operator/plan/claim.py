"""The PersistentVolumeClaims that weights are fetched into: of a model's own, or shared by those of a namespace.

A shared claim has every model that uses it for an owner, none of which controls it: garbage collection removes it with
the last one. Each model applies its own part of it alone, as a field manager of its own.
"""

from collections.abc import Mapping
from typing import Any

from heliograph_api import naming
from heliograph_api.errors import SpecError
from heliograph_api.manifest import ImageModel
from heliograph_api.serving import Cache
from heliograph_operator.plan.fetched import RECORD_ANNOTATION, Fetched
from heliograph_operator.plan.metadata import new_child
from heliograph_operator.resources import CLAIMS, Object
from heliograph_operator.settings import OperatorSettings

_SHARED = f"weights.{naming.GROUP}/"


def plan_claim(*, model: ImageModel, settings: OperatorSettings, fetched: Fetched | None) -> Object:
    """Return the claim, which bears the record of what was fetched into it."""
    cache = model.spec.serving.cache or Cache()
    claim = new_child(resource=CLAIMS, model=model)
    if fetched is not None:
        claim["metadata"]["annotations"] = {RECORD_ANNOTATION: fetched.annotation()}
    spec: Object = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": cache.size or settings.cache_size}},
    }
    if storage_class := cache.storage_class or settings.cache_storage_class:
        spec["storageClassName"] = storage_class
    return {**claim, "spec": spec}


def plan_shared_claim(*, model: ImageModel, settings: OperatorSettings, fetched: Fetched | None) -> Object:
    """Return a model's part of the claim that the models of its namespace share.

    Raises:
        SpecError: The ImageModel asks for another volume than the shared one.
    """
    cache = model.spec.serving.cache or Cache()
    for field, value in (("storageClass", cache.storage_class), ("size", cache.size)):
        if value is not None:
            raise SpecError(
                f"spec.serving.cache.{field}",
                "is the administrator's to say for a volume that models share; leave it out, or use mode: perModel",
            )
    reference = {**naming.owner_reference(model.name, model.uid), "controller": False, "blockOwnerDeletion": False}
    metadata: Object = {
        "name": settings.cache_shared_claim,
        "namespace": model.namespace,
        "labels": {naming.MANAGED_BY_LABEL: naming.MANAGED_BY, naming.COMPONENT_LABEL: "weights"},
        "ownerReferences": [reference],
    }
    if fetched is not None:
        metadata["annotations"] = {shared_record(model): fetched.annotation()}
    spec: Object = {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": settings.cache_shared_size}},
    }
    if settings.cache_storage_class:
        spec["storageClassName"] = settings.cache_storage_class
    return {"apiVersion": CLAIMS.api_version, "kind": CLAIMS.kind, "metadata": metadata, "spec": spec}


def shared_record(model: ImageModel) -> str:
    """Return the annotation of a shared claim that is the record of a model's weights."""
    return f"{_SHARED}{naming.child_name(model.name)}"


def folders(claim: Mapping[str, Any]) -> list[str]:
    """Return the folders of a shared claim that are of models which are still there: of its owners."""
    owners = {naming.child_name(it["name"]) for it in claim["metadata"].get("ownerReferences") or ()}
    marks = [annotation for annotation in claim["metadata"].get("annotations") or () if annotation.startswith(_SHARED)]
    records = [Fetched.read(claim, mark) for mark in marks if mark.removeprefix(_SHARED) in owners]
    return sorted(record.folder for record in records if record)


def shares(planned: Object, observed: Mapping[str, Any]) -> bool:
    """Return whether a shared claim holds a model's part of it already, and is as large as it should be."""
    wanted, present = planned["metadata"], observed["metadata"]
    uids = {reference["uid"] for reference in present.get("ownerReferences") or ()}
    return (
        {reference["uid"] for reference in wanted["ownerReferences"]} <= uids
        and (wanted.get("annotations") or {}).items() <= (present.get("annotations") or {}).items()
        and planned["spec"]["resources"] == observed["spec"]["resources"]
    )
