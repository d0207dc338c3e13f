"""Who gives way to whom."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from heliograph_api.manifest import ImageModel
from heliograph_api.serving import Scaling
from heliograph_operator.autoscale.decision import Demand
from heliograph_operator.autoscale.handover import Claim, Contender, choose_victims, claim_of
from heliograph_operator.autoscale.subject import Subject
from heliograph_operator.inventory import Key
from heliograph_operator.settings import OperatorSettings, Profile

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
RESIDENCE = 60.0
GPU = "nvidia.com/gpu"


def contender(name: str = "other", /, **changes: Any) -> Contender:
    """Return an idle model that has a GPU, but for the changes."""
    claim = Claim(changes.pop("resource", GPU), changes.pop("gpus", 1), changes.pop("nodes", {}))
    demand = Demand(
        load=changes.pop("load", 0),
        idle_seconds=changes.pop("idle", 100.0),
        recent_load=0,
        is_complete=changes.pop("is_complete", True),
    )
    ready = changes.pop("ready", 100.0)
    has_rival = changes.pop("has_rival", False)
    replicas_on = changes.pop("on", {"node": changes.get("replicas", 1)})
    subject = Subject(
        scaling=Scaling(min=changes.pop("least", 0)),
        replicas=changes.pop("replicas", 1),
        ready_since=None if ready is None else NOW - timedelta(seconds=ready),
        **changes,
    )
    return Contender(
        Key(*name.split("/")) if "/" in name else Key("art", name), subject, demand, claim, replicas_on, has_rival
    )


WAITER = contender("waiter", ready=None, lacks_gpu=True, load=1)


def chosen(
    *others: Contender,
    waiter: Contender = WAITER,
    across_namespaces: bool = False,
    open_nodes: set[str] | None = None,
) -> list[str]:
    victims = choose_victims(
        waiter, others, now=NOW, residence=RESIDENCE, across_namespaces=across_namespaces, open_nodes=open_nodes
    )
    return [victim.key.name for victim in victims]


def test_an_idle_model_gives_way() -> None:
    assert WAITER.is_waiting()
    assert chosen(contender(), WAITER) == ["other"]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(contender(load=1), id="has requests"),
        pytest.param(contender(is_complete=False), id="may have requests at a gateway that does not answer"),
        pytest.param(contender(pinned=True), id="pinned"),
        pytest.param(contender(has_rival=True), id="scaled by somebody else"),
        pytest.param(contender(least=1), id="never sleeps"),
        pytest.param(contender(ready=59.0), id="has just come"),
        pytest.param(contender(ready=None), id="is starting"),
        pytest.param(contender(priority=1), id="of higher rank"),
        pytest.param(contender(replicas=0, ready=None), id="has none"),
        pytest.param(contender(resource="amd.com/gpu"), id="has another kind of GPU"),
        pytest.param(contender(gpus=1, nodes={"pool": "a"}), id="on other nodes"),
        pytest.param(contender("music/other"), id="in another namespace"),
    ],
)
def test_it_does_not_give_way(other: Contender) -> None:
    waiter = contender("waiter", ready=None, lacks_gpu=True, load=1, nodes={"pool": "b"})
    assert chosen(other, waiter=waiter) == []


def test_the_least_important_goes_first_then_the_one_that_has_been_idle_for_longest() -> None:
    others = [contender("long", idle=900.0), contender("low", priority=-1, idle=10.0), contender("short", idle=20.0)]
    assert chosen(*others) == ["low"]
    assert chosen(*others[::2]) == ["long"]


def test_as_many_go_as_are_needed_and_none_if_that_is_not_enough() -> None:
    waiter = contender("waiter", ready=None, lacks_gpu=True, load=1, gpus=3)
    others = [
        contender("two", gpus=1, replicas=2, idle=30.0),
        contender("one", idle=20.0),
        contender("late", idle=10.0),
    ]
    assert chosen(*others, waiter=waiter) == ["two", "one"]
    assert chosen(*others[1:], waiter=waiter) == []


def test_none_goes_from_a_node_that_is_closed_to_the_one_that_waits() -> None:
    others = [contender("far", on={"far": 1}), contender("near", idle=10.0, on={"near": 1})]
    assert chosen(*others) == ["far"]
    assert chosen(*others, open_nodes={"near", "empty"}) == ["near"]
    assert chosen(*others, open_nodes={"empty"}) == []


def test_gpus_of_several_nodes_are_of_no_use_to_one_replica() -> None:
    waiter = contender("waiter", ready=None, lacks_gpu=True, load=1, gpus=2)
    apart = [contender("one", idle=30.0, on={"a": 1}), contender("two", idle=20.0, on={"b": 1})]
    assert chosen(*apart, waiter=waiter) == []
    assert chosen(*apart, contender("three", idle=10.0, on={"b": 1}), waiter=waiter) == ["two", "three"]
    spread = contender("spread", replicas=2, on={"a": 1, "c": 1})
    assert chosen(spread, waiter=waiter) == []


def test_whom_the_last_one_makes_needless_stays() -> None:
    waiter = contender("waiter", ready=None, lacks_gpu=True, load=1, gpus=4)
    small = [contender("one", idle=40.0), contender("two", gpus=2, idle=30.0)]
    assert chosen(*small, contender("large", gpus=4, idle=20.0), waiter=waiter) == ["large"]
    assert chosen(*small, contender("half", gpus=2, idle=20.0), waiter=waiter) == ["two", "half"]


def test_a_replica_that_has_no_node_leaves_none() -> None:
    assert chosen(contender(on={})) == []


def test_across_namespaces_only_a_lesser_one_goes_and_only_where_the_administrator_says_so() -> None:
    equal, lesser = contender("music/equal"), contender("music/lesser", priority=-1)
    assert chosen(equal, lesser) == []
    assert chosen(equal, lesser, across_namespaces=True) == ["lesser"]


def test_a_model_that_nobody_asks_for_waits_for_no_gpu() -> None:
    assert not contender(lacks_gpu=True, load=0).is_waiting()
    assert not contender(load=5).is_waiting()


@pytest.mark.parametrize(
    ("spec", "claim"),
    [
        ({"cuda": True}, Claim(GPU, 1, {"pool": "gpu"})),
        (
            {"cuda": True, "serving": {"gpus": 2, "nodeSelector": {"zone": "a"}}},
            Claim(GPU, 2, {"pool": "gpu", "zone": "a"}),
        ),
        ({"serving": {"resources": {"limits": {"amd.com/gpu": "4"}}}}, Claim("amd.com/gpu", 4, {})),
        ({"cuda": True, "serving": {"profile": "fabric", "gpus": 2}}, Claim(GPU, 2, {})),
        ({"serving": {"profile": "fabric", "resources": {"limits": {"a.io/b": "1", GPU: "2"}}}}, Claim(GPU, 2, {})),
        ({}, None),
        *[({"serving": {"resources": {"limits": {GPU: odd}}}}, None) for odd in ("0", "0.5", "500m", "1k")],
    ],
)
def test_the_gpus_of_a_replica(spec: dict[str, Any], claim: Claim | None) -> None:
    fabric = Profile.model_validate({"gpuResource": GPU, "resources": {"limits": {"rdma/hca": "1"}}})
    settings = OperatorSettings(
        gpu_profile=Profile(gpu_resource=GPU, node_selector={"pool": "gpu"}), profiles={"fabric": fabric}
    )
    model = ImageModel.from_object(
        {"metadata": {"name": "m", "namespace": "art"}, "spec": {"parameters": {"model": "m.safetensors"}, **spec}}
    )
    assert claim_of(model, settings) == claim
