"""The state of models as the routing table has it: from the spec, the replicas, and what is told of them."""

from typing import Any

import pytest

from gateway.manifests import image_model
from heliograph_api.naming import child_name
from heliograph_api.status import PASSING_REASONS
from heliograph_gateway.models.observed import NOTHING, Observed, observed
from heliograph_gateway.models.states import state_of
from heliograph_gateway.names import NameIndex, Route
from heliograph_gateway.routing import Endpoint, RoutingTable
from heliograph_operator.diagnosis.reasons import CAUSES, STATES

ENDPOINTS = (Endpoint("10.0.0.1", 8080), Endpoint("10.0.0.2", 8080))
WORD = "Nobody needs a replica now; the next request starts one."


def obj(*conditions: dict[str, Any], generation: int = 3, **status: Any) -> dict[str, Any]:
    return {"metadata": {"generation": generation}, "status": {"conditions": list(conditions), **status}}


def ready(status: str, reason: str, *, generation: int = 3) -> dict[str, Any]:
    return {"type": "Ready", "status": status, "reason": reason, "observedGeneration": generation}


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ({"metadata": {"generation": 1}}, NOTHING),
        (obj(), NOTHING),
        (obj({"type": "Accepted", "status": "True", "reason": "Valid"}), NOTHING),
        (obj(ready("True", "Serving")), NOTHING),
        (obj(ready("False", "Starting")), Observed("Starting")),
        (obj(ready("False", "ScaledToZero")), Observed("ScaledToZero")),
        (obj(ready("False", "NoGpuFree")), Observed("NoGpuFree")),
        (obj(ready("False", "CorruptWeights")), Observed("CorruptWeights", failed=True)),
        (obj(ready("Unknown", "SomethingNew")), Observed("SomethingNew", failed=True)),
        (obj(ready("False", "Fetching"), weights={"percent": 43}), Observed("Fetching", progress=0.43)),
        (obj(ready("False", "Fetching"), weights={"summary": "12 MB so far"}), Observed("Fetching")),
        (obj(ready("False", "Starting"), weights={"percent": 43}), Observed("Starting")),
        # Of an older spec, which may have had no replicas, or a mistake.
        (obj(ready("False", "ScaledToZero", generation=2)), NOTHING),
        (obj(ready("False", "CorruptWeights", generation=2)), NOTHING),
        # Whoever may write the status may write anything that its schema allows.
        (obj(ready("False", "")), NOTHING),
        (obj(ready("False", "x" * 9000)), Observed("x" * 64, failed=True)),
    ],
)
def test_what_the_status_tells(told: dict[str, Any], found: Observed) -> None:
    assert observed(told) == found


@pytest.mark.parametrize(
    ("spec", "told", "count", "state"),
    [
        ({}, NOTHING, 2, "ready"),
        ({"disabled": True}, NOTHING, 1, "disabled"),
        ({}, NOTHING, 0, "loading"),
        ({}, Observed("Starting"), 0, "loading"),
        ({}, Observed("NoGpuFree"), 0, "loading"),
        ({}, Observed("CorruptWeights", failed=True), 0, "failed"),
        # The last valid spec serves on.
        ({}, Observed("InvalidSpec", failed=True), 1, "ready"),
        ({"serving": {"replicas": 0}}, NOTHING, 0, "cold"),
        ({"serving": {"replicas": 0}}, Observed("ScaledToZero"), 0, "cold"),
        ({"serving": {"replicas": 0}}, Observed("Fetching", progress=0.5), 0, "loading"),
        ({"serving": {"replicas": 0}}, Observed("WeightsNotFound", failed=True), 0, "failed"),
        # Pods that end take their last requests still.
        ({"serving": {"replicas": 0}}, Observed("ScaledToZero"), 1, "ready"),
    ],
)
def test_the_state_of_a_model(spec: dict[str, Any], told: Observed, count: int, state: str) -> None:
    routes = RoutingTable()
    routes.set_model(image_model("tiny", **spec), not_ready=WORD, observed=told)
    routes.set_endpoints("default", child_name("tiny"), ENDPOINTS[:count])
    route = routes.known_as(("default", "tiny"))
    assert route is not None

    found = state_of(route, routes)

    assert (found.state, found.ready_replicas, found.namespace) == (state, count, "default")
    assert (found.reason, found.progress, found.replicas) == (told.reason, told.progress, route.replicas)
    assert found.message == (WORD if told.reason else None)


def test_every_reason_of_the_operator_is_either_a_trouble_or_passes() -> None:
    assert STATES.keys() | CAUSES.keys() >= PASSING_REASONS
    whole = {
        "Valid",
        "Alias",
        "TargetFound",
        "ExistingClaim",
        "Fetched",
        "Ephemeral",
        "Serving",
        "RollingOut",
        "Complete",
    }
    assert STATES.keys() - PASSING_REASONS == whole, "what stands here is no reason for Ready to be false"


def test_a_change_of_the_status_alone_leaves_the_index_of_names(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    index = "heliograph_gateway.routing.NameIndex"
    monkeypatch.setattr(index, _counted(made))
    routes = RoutingTable()
    for name in ("one", "two", "three"):
        routes.set_model(image_model(name))
    assert routes.resolve("one").not_ready == ""
    for percent in range(100):
        told = Observed("Fetching", progress=percent / 100)
        routes.set_model(image_model("one", serving={"replicas": percent}), not_ready=f"{percent} %", observed=told)
        assert (routes.resolve("one").not_ready, routes.resolve("one").replicas) == (f"{percent} %", percent)
        assert routes.resolve(None).model.name in {"one", "two", "three"}
    assert len(made) == 1

    for change in ({"name": "Uno"}, {"name": "Uno", "serving": {"aliases": ["primo"]}}, {"alias": "two"}):
        routes.set_model(image_model("one", **change))
        assert routes.resolve("one").model.name == ("two" if "alias" in change else "one")
    routes.set_model(image_model("two"), created=7)
    assert routes.resolve("two").created == 7
    routes.remove_model("default", "two")
    assert [entry.id for entry in routes.listed()] == ["three"]
    assert len(made) == 6


def _counted(made: list[int]) -> Any:
    def make(routes: Any) -> NameIndex:
        found: list[Route] = list(routes)
        made.append(len(found))
        return NameIndex(found)

    return make
