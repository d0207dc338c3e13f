"""When a child is applied; against a real API server, test_reconcile shows the same from outside."""

from typing import Any

import pytest

from heliograph_api import naming
from heliograph_operator.drift import needs_apply, with_plan_hash

PLANNED = with_plan_hash(
    {
        "apiVersion": "v1",
        "kind": "Thing",
        "metadata": {"name": "x", "namespace": "y", "labels": {"a": "1", "b": "2"}},
        "spec": {
            "atomic": {"key": "value"},
            "ports": [{"port": 80, "protocol": "TCP", "name": "http"}],
            "empty": {},
        },
    }
)
OWNED: dict[str, Any] = {
    "f:metadata": {"f:labels": {"f:a": {}, "f:b": {}}, "f:annotations": {"f:heliograph.dev/plan-hash": {}}},
    "f:spec": {
        "f:atomic": {},
        "f:ports": {
            'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}, "f:protocol": {}, "f:name": {}},
            'k:{"port":81,"protocol":"TCP"}': {".": {}, "f:port": {}},
        },
        "f:empty": {},
    },
}


def observed(*entries: tuple[str, str, dict[str, Any]], **metadata: Any) -> dict[str, Any]:
    fields = [{"manager": manager, "operation": operation, "fieldsV1": tree} for manager, operation, tree in entries]
    return {**PLANNED, "metadata": {**PLANNED["metadata"], "managedFields": fields, **metadata}}


def without(tree: dict[str, Any], *path: str) -> dict[str, Any]:
    key, *rest = path
    if rest:
        return {**tree, key: without(tree[key], *rest)}
    return {name: below for name, below in tree.items() if name != key}


def ours(tree: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    return naming.FIELD_MANAGER, "Apply", tree


def test_what_was_applied_as_planned_rests() -> None:
    assert not needs_apply(PLANNED, observed(ours(OWNED)))
    assert not needs_apply(PLANNED, observed(("them", "Update", {"f:spec": {"f:other": {}}}), ours(OWNED)))


@pytest.mark.parametrize(
    "path",
    [
        ("f:metadata",),
        ("f:metadata", "f:labels", "f:a"),
        ("f:spec", "f:atomic"),
        ("f:spec", "f:empty"),
        ("f:spec", "f:ports", 'k:{"port":80,"protocol":"TCP"}'),
        ("f:spec", "f:ports", 'k:{"port":80,"protocol":"TCP"}', "f:name"),
    ],
)
def test_a_field_that_is_no_longer_ours_was_changed(path: tuple[str, ...]) -> None:
    assert needs_apply(PLANNED, observed(ours(without(OWNED, *path))))


def test_what_a_webhook_changed_while_we_applied_is_ours() -> None:
    path = ("f:spec", "f:ports", 'k:{"port":80,"protocol":"TCP"}', "f:name")
    changed: dict[str, Any] = {"f:spec": {"f:ports": {path[2]: {"f:name": {}}}}}
    entries = (ours(without(OWNED, *path)), (naming.FIELD_MANAGER, "Update", changed))
    assert not needs_apply(PLANNED, observed(*entries))


def test_another_plan_is_applied() -> None:
    assert needs_apply(with_plan_hash({**PLANNED, "spec": {"atomic": {}}}), observed(ours(OWNED)))


@pytest.mark.parametrize("metadata", [{"annotations": None}, {"annotations": {}}, {"managedFields": None}])
def test_what_bears_no_trace_of_ours_is_applied(metadata: dict[str, Any]) -> None:
    assert needs_apply(PLANNED, observed(ours(OWNED), **metadata))
