"""Whether a child must be applied: whether it was last applied as planned, and nobody has changed it since.

Comparing values would not do: the API server adds defaults and rewrites quantities, and admission webhooks may change
what we applied. Instead, every child carries a digest of the plan that it was applied by, and the API server keeps
account of whose each field is (kubernetes.io/docs/reference/using-api/server-side-apply): a field that somebody else
changed or removed is no longer ours.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from heliograph_api import naming
from heliograph_operator.resources import Object

PLAN_HASH_ANNOTATION = f"{naming.GROUP}/plan-hash"

_UNOWNED = frozenset({"apiVersion", "kind", "name", "namespace"})
"""Fields that identify an object; nobody owns them."""


def with_plan_hash(planned: Object) -> Object:
    """Return a planned child with the digest of its plan among its annotations, in place of that of another plan."""
    metadata = {key: value for key, value in planned["metadata"].items() if key != "annotations"}
    given = planned["metadata"].get("annotations", {})
    annotations = {key: value for key, value in given.items() if key != PLAN_HASH_ANNOTATION}
    basis = {**planned, "metadata": {**metadata, "annotations": annotations} if annotations else metadata}
    digest = hashlib.sha256(json.dumps(basis, sort_keys=True).encode()).hexdigest()[:16]
    return {**planned, "metadata": {**metadata, "annotations": {**annotations, PLAN_HASH_ANNOTATION: digest}}}


def has_plan_hash(planned: Object) -> bool:
    """Return whether a planned child bears a digest, such as one of a part of its plan alone."""
    return PLAN_HASH_ANNOTATION in planned["metadata"].get("annotations", {})


def needs_apply(planned: Object, observed: Object) -> bool:
    """Return whether `planned`, with its digest, must be applied to make `observed` what it should be."""
    annotations = observed["metadata"].get("annotations") or {}
    if annotations.get(PLAN_HASH_ANNOTATION) != planned["metadata"]["annotations"][PLAN_HASH_ANNOTATION]:
        return True
    fields = {key: value for key, value in planned.items() if key not in _UNOWNED}
    fields["metadata"] = {key: value for key, value in planned["metadata"].items() if key not in _UNOWNED}
    return not _owns(_owned_fields(observed), fields)


def _owned_fields(observed: Object) -> Mapping[str, Any]:
    """Return the tree of the fields that are ours.

    What a webhook changed while we applied is ours too, by an entry whose operation is Update.
    """
    owned: dict[str, Any] = {".": {}}
    for entry in observed["metadata"].get("managedFields") or ():
        if entry.get("manager") == naming.FIELD_MANAGER:
            _merge(owned, entry.get("fieldsV1") or {})
    return owned


def _merge(tree: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, below in other.items():
        _merge(tree.setdefault(key, {}), below)


def _owns(owned: Mapping[str, Any], planned: Any) -> bool:
    """Return whether everything in `planned` is in the tree of owned fields.

    Keys of the tree are `f:<field>`, `k:<merge keys as JSON>`, and `.` for the node itself; nothing below a node means
    that it is owned as a whole.
    """
    if not owned:
        return True
    if isinstance(planned, Mapping):
        return all(f"f:{key}" in owned and _owns(owned[f"f:{key}"], value) for key, value in planned.items())
    if isinstance(planned, list):
        items = [(json.loads(key[2:]), below) for key, below in owned.items() if key.startswith("k:")]
        return all(
            any(keys.items() <= item.items() and _owns(below, item) for keys, below in items) for item in planned
        )
    return False
