"""On which nodes a pod may be placed."""

from typing import Any

import pytest

from heliograph_operator.autoscale.placement import may_hold, nodes_held_to
from heliograph_operator.objects import claims_of

GPU_TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
NODE = {
    "metadata": {"name": "one", "labels": {"pool": "gpu", "zone": "a", "generation": "7"}},
    "spec": {"taints": [GPU_TAINT, {"key": "slow", "effect": "PreferNoSchedule"}]},
}
TOLERANT = [{"key": "nvidia.com/gpu", "operator": "Exists"}]


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


def selector(*expressions: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"nodeSelectorTerms": [{"matchExpressions": list(expressions), **more}]}


def pod(*claims: str, node: str | None = None, phase: str = "Running", **spec: Any) -> dict[str, Any]:
    volumes = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims]
    place = {"nodeName": node} if node else {}
    return {
        "spec": {"volumes": [{"name": "tmp", "emptyDir": {}}, *volumes], **place, **spec},
        "status": {"phase": phase},
    }


@pytest.mark.parametrize(
    ("tolerations", "expected"),
    [
        ([], False),
        (TOLERANT, True),
        ([{"operator": "Exists"}], True),
        ([{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}], True),
        ([{"key": "nvidia.com/gpu", "operator": "Equal", "value": "absent"}], False),
        ([{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoExecute"}], False),
        ([{"key": "amd.com/gpu", "operator": "Exists"}], False),
    ],
)
def test_a_taint_bars_a_pod_that_does_not_tolerate_it(tolerations: list[Any], expected: bool) -> None:
    assert may_hold(NODE, pod(tolerations=tolerations), []) is expected


@pytest.mark.parametrize(("labels", "expected"), [({"pool": "gpu"}, True), ({"pool": "gpu", "zone": "b"}, False)])
def test_a_node_has_all_the_labels_that_are_asked_for(labels: dict[str, str], expected: bool) -> None:
    assert may_hold(NODE, pod(tolerations=TOLERANT, nodeSelector=labels), []) is expected


SELECTORS = [
    (selector(expression("zone", "In", "a", "b")), True),
    (selector(expression("zone", "In", "b")), False),
    (selector(expression("zone", "NotIn", "b")), True),
    (selector(expression("rack", "NotIn", "b")), True),
    (selector(expression("zone", "Exists"), expression("rack", "Exists")), False),
    (selector(expression("rack", "DoesNotExist")), True),
    (selector(expression("generation", "Gt", "6")), True),
    (selector(expression("generation", "Lt", "7")), False),
    (selector(expression("zone", "Gt", "1")), False),
    (selector(matchFields=[expression("metadata.name", "In", "one")]), True),
    (selector(expression("zone", "Exists"), matchFields=[expression("metadata.name", "In", "two")]), False),
    (selector(), False),
    ({"nodeSelectorTerms": [*selector(expression("zone", "In", "b"))["nodeSelectorTerms"], {"matchExpressions": [
        expression("zone", "In", "a")]}]}, True),
]  # fmt: skip


@pytest.mark.parametrize(("required", "expected"), SELECTORS)
def test_a_volume_and_an_affinity_reach_as_far_as_their_terms_say(required: dict[str, Any], expected: bool) -> None:
    volume = {"spec": {"nodeAffinity": {"required": required}}}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    assert may_hold(NODE, pod(tolerations=TOLERANT), [{"spec": {}}, volume]) is expected
    assert may_hold(NODE, pod(tolerations=TOLERANT, affinity=affinity), []) is expected


def claim(*modes: str) -> dict[str, Any]:
    return {"metadata": {"name": "weights"}, "spec": {"accessModes": list(modes)}}


def test_a_volume_of_one_node_is_held_to_where_it_is_mounted() -> None:
    others = [pod("weights", node="one"), pod("weights", node="two", phase="Succeeded"), pod("other", node="three")]
    waiting = pod("weights", phase="Pending")
    assert claims_of(waiting) == ["weights"]
    assert nodes_held_to(claim("ReadWriteOnce"), [*others, waiting]) == {"one"}
    assert nodes_held_to(claim("ReadWriteOnce"), [*others[1:], waiting]) is None
    assert nodes_held_to(claim("ReadWriteOnce", "ReadOnlyMany"), others) is None
    assert nodes_held_to(claim("ReadWriteMany"), others) is None
    bound = {**claim("ReadWriteOnce"), "status": {"accessModes": ["ReadWriteOnce", "ReadWriteMany"]}}
    assert nodes_held_to(bound, others) is None, "its volume offers more than it asks for"
