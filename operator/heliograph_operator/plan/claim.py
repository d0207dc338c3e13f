"""The PersistentVolumeClaims that weights are fetched into: of a model's own, or shared by those of a namespace.

A shared claim has every model that uses it for an owner, none of which controls it: garbage collection removes it with
the last one. Each model applies its own part of it alone, as a field manager of its own; the part outlives the model
until its folders are removed.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from heliograph_api import naming
from heliograph_api.errors import SpecError
from heliograph_api.manifest import ImageModel
from heliograph_api.serving import Cache
from heliograph_api.status import SpecWarning
from heliograph_operator.plan.fetched import RECORD_ANNOTATION, Fetched
from heliograph_operator.plan.metadata import new_child
from heliograph_operator.plan.quantity import value_of
from heliograph_operator.resources import CLAIMS, Object
from heliograph_operator.settings import OperatorSettings

_SHARED = f"weights.{naming.GROUP}/"
_LABELS = {naming.MANAGED_BY_LABEL: naming.MANAGED_BY, naming.COMPONENT_LABEL: "weights"}


UNSEEN: Object = {"spec": {"accessModes": ["ReadWriteOnce"]}}
"""What a claim that is somebody else's to make is taken for until it is there.

Pods that had been made with less care could be stuck from when it turns out to be for one node at a time.
"""
_IMMUTABLE = ("accessModes", "storageClassName")


def plan_claim(
    *, model: ImageModel, settings: OperatorSettings, fetched: Fetched | None, present: Mapping[str, Any] | None = None
) -> Object:
    """Return the claim, which bears the record of what was fetched into it.

    Args:
        model: The ImageModel.
        settings: The operator's settings.
        fetched: The record.
        present: The claim as it is, where there is one: see `_fitted`.
    """
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
    return {**claim, "spec": _fitted(spec, present)}


def claim_warnings(*, model: ImageModel, present: Mapping[str, Any] | None) -> list[SpecWarning]:
    """Return what an ImageModel asks of its own claim that can't be had any more, since the claim is there.

    Args:
        model: The ImageModel.
        present: The claim as it is, where there is one.
    """
    if present is None:
        return []
    cache, spec = model.spec.serving.cache or Cache(), present["spec"]
    has_class, has_room = spec.get("storageClassName"), _requested(spec)
    kept = []
    if cache.storage_class and has_class and cache.storage_class != has_class:
        kept.append(("storageClass", cache.storage_class, has_class))
    if cache.size and has_room and value_of(cache.size) < value_of(has_room):
        kept.append(("size", cache.size, has_room))
    name = present["metadata"]["name"]
    return [
        SpecWarning(
            reason="VolumeKept",
            message=f"spec.serving.cache.{field} is {wanted}, but the PersistentVolumeClaim {name} has {has}, which "
            "can't become that: leave it so, or delete the ImageModel and apply it anew to fetch the weights again.",
        )
        for field, wanted, has in kept
    ]


def access_modes(claim: Mapping[str, Any]) -> list[str]:
    """Return the ways in which a claim can be mounted: those of its volume, else those that it asks for."""
    return (claim.get("status") or {}).get("accessModes") or claim["spec"].get("accessModes") or []


def is_for_one_node(modes: Collection[str]) -> bool:
    """Return whether no two nodes can mount a claim at a time; False where its ways are not known."""
    return bool(modes) and set(modes) <= {"ReadWriteOnce", "ReadWriteOncePod"}


def at_present_size(planned: Object, present: Mapping[str, Any]) -> Object:
    """Return a planned claim with no more room than it has, for a volume that can't grow."""
    return {**planned, "spec": {**planned["spec"], "resources": present["spec"]["resources"]}}


def _fitted(spec: Object, present: Mapping[str, Any] | None) -> Object:
    """Return the planned `spec` of a claim with what can't be changed of the one that is there.

    Its size can grow at most; the API server would refuse all that is in the same write, such as the record.
    """
    if present is None:
        return spec
    fitted = {**spec, **{key: present["spec"][key] for key in _IMMUTABLE if key in present["spec"]}}
    room = _requested(present["spec"])
    if room is not None and value_of(room) >= value_of(str(_requested(spec))):
        fitted["resources"] = {"requests": {"storage": room}}
    return fitted


def _requested(spec: Mapping[str, Any]) -> str | None:
    size: str | None = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    return size


@dataclass(frozen=True)
class Share:
    """What a shared claim tells of one model.

    Attributes:
        fetched: The weights that were fetched for it last; None once they are not its any more.
        folders: Folders of the volume that are there for it or may come to be, needed or not.
    """

    fetched: Fetched | None = None
    folders: frozenset[str] = frozenset()

    @classmethod
    def read(cls, claim: Mapping[str, Any], name: str) -> Self | None:
        """Return a model's share of a claim, if it has one that can be read.

        Whoever may write the claim may write it: folders that can't be the model's are left out.
        """
        child = naming.child_name(name)
        try:
            told = json.loads((claim["metadata"].get("annotations") or {})[_SHARED + child])
            fetched = Fetched(**told["fetched"]) if told["fetched"] else None
            folders = frozenset(it for it in told["folders"] if re.fullmatch(rf"{child}-[0-9a-f]{{8}}", it))
        except (KeyError, ValueError, TypeError):
            return None  # somebody else's words; the fetcher will find what is there
        return cls(fetched, folders)

    def annotation(self, name: str) -> dict[str, str]:
        """Return the annotation that tells it of the model."""
        fetched = asdict(self.fetched) if self.fetched else None
        told = {"model": name, "folders": sorted(self.folders), "fetched": fetched}
        return {f"{_SHARED}{naming.child_name(name)}": json.dumps(told, sort_keys=True)}


def plan_shared_claim(
    *, model: ImageModel, settings: OperatorSettings, share: Share, present: Mapping[str, Any] | None = None
) -> Object:
    """Return a model's part of the claim that the models of its namespace share, which fits the one that is `present`.

    It is for that one and no other that may take its place: what is recorded of its volume is not in another.

    Raises:
        SpecError: The ImageModel asks for another volume than the shared one.
    """
    cache = model.spec.serving.cache or Cache()
    for field, value in (("storageClass", cache.storage_class), ("size", cache.size)):
        # By the administrator's default mode, the size is that of a volume of its own, which it might have had.
        if value is not None and (field != "size" or cache.mode == "sharedRWX"):
            raise SpecError(
                f"spec.serving.cache.{field}",
                "is the administrator's to say for a volume that models share; leave it out, or use mode: perModel",
            )
    reference = {**naming.owner_reference(model.name, model.uid), "controller": False, "blockOwnerDeletion": False}
    metadata: Object = {
        "name": settings.cache_shared_claim,
        "namespace": model.namespace,
        "labels": _LABELS,
        "annotations": share.annotation(model.name),
        "ownerReferences": [reference],
    }
    if present is not None:
        metadata["uid"] = present["metadata"]["uid"]
    spec: Object = {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": settings.cache_shared_size}},
    }
    if settings.cache_storage_class:
        spec["storageClassName"] = settings.cache_storage_class
    spec = _fitted(spec, present)
    return {"apiVersion": CLAIMS.api_version, "kind": CLAIMS.kind, "metadata": metadata, "spec": spec}


def shared_claim_warnings(*, model: ImageModel) -> list[SpecWarning]:
    """Return what an ImageModel says of a volume that it does not get, since the administrator has models share one."""
    cache = model.spec.serving.cache or Cache()
    if cache.size is None or cache.mode is not None:
        return []
    told = "spec.serving.cache.size has no effect: the weights go into the volume that models share here."
    remedy = "Leave it out, or set spec.serving.cache.mode: perModel."
    return [SpecWarning(reason="NoEffect", message=f"{told} {remedy}")]


def left_part(claim: Mapping[str, Any], name: str, folders: Iterable[str]) -> Object:
    """Return the part of a shared claim of a model that does not use it any more.

    Args:
        claim: The claim, and no other that may take its place.
        name: The model's name.
        folders: Folders that were the model's and are still there.
    """
    metadata = {key: claim["metadata"][key] for key in ("name", "namespace", "uid")}
    left = Share(folders=frozenset(folders))
    annotations = left.annotation(name) if left.folders else {}
    metadata |= {"labels": _LABELS, "annotations": annotations}
    # Given up by the last who applies them, they would be removed, which the API server refuses. Whoever uses the claim
    # can still have it grow, by force.
    spec = {key: claim["spec"][key] for key in (*_IMMUTABLE, "resources") if key in claim["spec"]}
    return {"apiVersion": CLAIMS.api_version, "kind": CLAIMS.kind, "metadata": metadata, "spec": spec}


def with_folders(part: Object, name: str, folders: Iterable[str]) -> Object:
    """Return a model's part of a shared claim with other folders."""
    share = Share.read(part, name) or Share()
    annotations = Share(share.fetched, frozenset(folders)).annotation(name)
    return {**part, "metadata": {**part["metadata"], "annotations": annotations}}


def is_shared(claim: Mapping[str, Any]) -> bool:
    """Return whether a claim is made to be shared."""
    return _LABELS.items() <= (claim["metadata"].get("labels") or {}).items()


def sharers(claim: Mapping[str, Any]) -> list[str]:
    """Return the names of the models that have a share of a claim, whether they are still there or not."""
    names = []
    for annotation, text in (claim["metadata"].get("annotations") or {}).items():
        try:
            name = json.loads(text)["model"] if annotation.startswith(_SHARED) else None
        except (KeyError, ValueError, TypeError):
            continue
        if isinstance(name, str):
            names.append(name)
    return names


def owner_uids(claim: Mapping[str, Any]) -> set[str]:
    """Return the uids of the models that use a shared claim."""
    return {reference["uid"] for reference in claim["metadata"].get("ownerReferences") or ()}


def is_last(claim: Mapping[str, Any], name: str) -> bool:
    """Return whether no other model has a share of a claim, or owns it."""
    owners = {reference["name"] for reference in claim["metadata"].get("ownerReferences") or ()}
    return owners | set(sharers(claim)) <= {name}


def shares(planned: Object, observed: Mapping[str, Any]) -> bool:
    """Return whether a shared claim holds a model's part of it already, and is as large as it should be."""
    wanted, present = planned["metadata"], observed["metadata"]
    return (
        owner_uids(planned) <= owner_uids(observed)
        and wanted["annotations"].items() <= (present.get("annotations") or {}).items()
        and planned["spec"]["resources"] == observed["spec"]["resources"]
    )
