"""Which pods are held to the node of a volume, and what follows for rollouts and drains."""

from typing import Any

import pytest

from heliograph_api.manifest import ImageModel
from heliograph_operator.plan.attachment import CLAIM_LABEL
from heliograph_operator.plan.children import plan
from heliograph_operator.plan.fetched import Fetched
from heliograph_operator.settings import OperatorSettings, Profile

SETTINGS = OperatorSettings(gpu_profile=Profile(gpu_resource="nvidia.com/gpu"))
FETCHED = {"parameters": {"model": "hf://somebody/dream"}}
GIVEN = {"parameters": {"model": "dream"}, "serving": {"cache": {"existingClaim": "weights"}}}
SURGE = {"maxSurge": 1, "maxUnavailable": 0}
IN_PLACE = {"maxSurge": 0, "maxUnavailable": 1}


def image_model(spec: dict[str, Any], name: str = "dream") -> ImageModel:
    return ImageModel.from_object({"metadata": {"name": name, "namespace": "n", "uid": "u"}, "spec": spec})


def children(spec: dict[str, Any], name: str = "dream", *modes: str, bound: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the children by kind, with those that wait for weights, for a claim of some access modes."""
    claim = {"spec": {"accessModes": list(modes)}, "status": {"accessModes": list(bound)}} if modes else None
    model = image_model(spec, name)
    first = plan(model=model, settings=SETTINGS, claim=claim)
    found = {child["kind"]: child for child in first.children}
    if first.awaits_weights and first.weights is not None:
        record = Fetched(str(first.weights.by_job))
        later = plan(model=model, settings=SETTINGS, record=record, claim=claim).children
        found = {child["kind"]: child for child in later} | {"Job": found["Job"]}
    return found


def template(child: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = child["spec"]["template"]
    return found


def held_by(child: dict[str, Any]) -> dict[str, str]:
    """Return the labels of the pods to whose node a child's pods are held; none where they are not."""
    affinity = template(child)["spec"].get("affinity", {}).get("podAffinity")
    if affinity is None:
        return {}
    (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    labels: dict[str, str] = term["labelSelector"]["matchLabels"]
    return labels


def test_what_fetches_and_what_serves_find_each_other_and_themselves() -> None:
    found = children(FETCHED)
    for child in (found["Job"], found["Deployment"]):
        assert held_by(child).items() <= template(found["Job"])["metadata"]["labels"].items()
        assert held_by(child).items() <= template(found["Deployment"])["metadata"]["labels"].items()
    other = template(children(FETCHED, "other")["Deployment"])["metadata"]["labels"]
    assert not held_by(found["Job"]).items() <= other.items()


@pytest.mark.parametrize("mode", ["sharedRWX", "ephemeral"])
def test_no_pod_is_held_to_a_node_by_a_volume_of_all_nodes_or_of_its_own(mode: str) -> None:
    found = children({**FETCHED, "serving": {"cache": {"mode": mode}}})
    assert [held_by(child) for kind, child in found.items() if kind in {"Job", "Deployment"} and held_by(child)] == []
    assert found["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1


@pytest.mark.parametrize(
    ("modes", "bound", "is_held", "rollout"),
    [
        (["ReadWriteOnce"], [], True, SURGE),
        (["ReadWriteOnce"], ["ReadWriteOnce"], True, SURGE),
        (["ReadWriteOncePod"], ["ReadWriteOncePod"], True, IN_PLACE),
        (["ReadWriteOnce"], ["ReadWriteOnce", "ReadOnlyMany"], False, SURGE),
        (["ReadWriteMany"], [], False, SURGE),
        (["ReadOnlyMany"], ["ReadOnlyMany"], False, SURGE),
        ([], [], False, SURGE),
    ],
    ids=["once", "once, bound", "one pod", "a volume that can do more", "many", "read only", "unknown"],
)
def test_a_claim_holds_pods_to_its_node_where_it_can_be_mounted_on_one_alone(
    modes: list[str], bound: list[str], is_held: bool, rollout: dict[str, int]
) -> None:
    found = children(GIVEN, "dream", *modes, bound=tuple(bound))
    deployment = found["Deployment"]
    labels = template(deployment)["metadata"]["labels"]
    assert (CLAIM_LABEL in labels) is is_held
    assert held_by(deployment) == ({CLAIM_LABEL: labels[CLAIM_LABEL]} if is_held else {})
    assert deployment["spec"]["strategy"]["rollingUpdate"] == rollout
    assert found["PodDisruptionBudget"]["spec"]["maxUnavailable"] == ("100%" if is_held else 1)


def test_models_of_one_claim_find_each_other_and_those_of_another_do_not() -> None:
    other = {**GIVEN, "serving": {"cache": {"existingClaim": "others"}}}
    held = [
        held_by(children(spec, name, "ReadWriteOnce")["Deployment"])
        for spec, name in ((GIVEN, "dream"), (GIVEN, "day"), (other, "dusk"))
    ]
    assert held[0] == held[1] != held[2]


def preferred(spec: dict[str, Any]) -> list[Any]:
    affinity = template(children(spec)["Job"])["spec"].get("affinity", {}).get("nodeAffinity", {})
    return [
        (expression["key"], expression["operator"], expression["values"])
        for term in affinity.get("preferredDuringSchedulingIgnoredDuringExecution", [])
        for expression in term["preference"]["matchExpressions"]
    ]


def test_a_volume_is_made_where_there_are_gpus_if_the_model_needs_one() -> None:
    assert preferred({**FETCHED, "cuda": True}) == [("nvidia.com/gpu.present", "In", ["true"])]
    assert preferred(FETCHED) == []
    assert preferred({**FETCHED, "cuda": True, "serving": {"cache": {"mode": "sharedRWX"}}}) == []
