"""On which nodes a pod may be placed; pure.

It goes by what lasts, as the scheduler's filters TaintToleration, NodeAffinity and VolumeBinding do
(k8s.io/kubernetes/pkg/scheduler/framework/plugins). Whether there is room is the scheduler's to say.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from heliograph_operator.objects import claims_of, is_over
from heliograph_operator.plan.claim import access_modes, is_for_one_node
from heliograph_operator.resources import Object

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def may_hold(node: Object, pod: Object, volumes: Iterable[Object]) -> bool:
    """Return whether nothing but a lack of room bars a pod from a node.

    Args:
        node: The node.
        pod: The pod.
        volumes: The PersistentVolumes of the pod.
    """
    spec = pod["spec"]
    wanted: Mapping[str, str] = spec.get("nodeSelector") or {}
    labels: Mapping[str, str] = node["metadata"].get("labels") or {}
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(_REQUIRED)
    reach = [(volume["spec"].get("nodeAffinity") or {}).get("required") for volume in volumes]
    return (
        wanted.items() <= labels.items()
        and all(_selects(selector, node) for selector in (affinity, *reach) if selector)
        and all(_is_tolerated(taint, pod) for taint in node["spec"].get("taints") or ())
    )


def is_placed(pod: Object) -> bool:
    """Return whether a pod is on a node, and not over."""
    return "nodeName" in pod["spec"] and not is_over(pod)


def nodes_held_to(claim: Object, pods: Iterable[Object]) -> set[str] | None:
    """Return the nodes that a claim is mounted on where it can be mounted on no further one; None where it can be.

    Args:
        claim: The PersistentVolumeClaim.
        pods: The pods of its namespace.
    """
    if not is_for_one_node(access_modes(claim)):
        return None
    name = claim["metadata"]["name"]
    return {pod["spec"]["nodeName"] for pod in pods if is_placed(pod) and name in claims_of(pod)} or None


def _is_tolerated(taint: Mapping[str, Any], pod: Object) -> bool:
    if taint["effect"] == "PreferNoSchedule":
        return True
    return any(_tolerates(toleration, taint) for toleration in pod["spec"].get("tolerations") or ())


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") not in {None, "", taint["effect"]}:
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in {None, "", taint["key"]}
    wanted, borne = ((item.get("key"), item.get("value", "")) for item in (toleration, taint))
    return wanted == borne


def _selects(selector: Mapping[str, Any], node: Object) -> bool:
    """Return whether one of a NodeSelector's terms matches; a term that says nothing matches nothing."""
    return any(_matches(term, node) for term in selector["nodeSelectorTerms"])


def _matches(term: Mapping[str, Any], node: Object) -> bool:
    fields = {"metadata.name": node["metadata"]["name"]}
    requirements = [(found, node["metadata"].get("labels") or {}) for found in term.get("matchExpressions") or ()]
    requirements += [(found, fields) for found in term.get("matchFields") or ()]
    return bool(requirements) and all(_holds(requirement, labels) for requirement, labels in requirements)


def _holds(requirement: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement["key"])
    values: list[str] = requirement.get("values") or []
    match requirement["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case operator:
            return _compares(operator, value, values)


def _compares(operator: str, value: str | None, values: list[str]) -> bool:
    """Return whether Gt or Lt holds, which are for integers."""
    try:
        number, bound = int(value or ""), int(values[0])
    except (ValueError, IndexError):
        return False
    return number > bound if operator == "Gt" else number < bound
