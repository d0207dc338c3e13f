"""Which ImageModels the autoscaler looks at, and as what."""

from datetime import UTC, datetime
from typing import Any

import pytest

from heliograph_api import naming
from heliograph_operator.autoscale.rivals import misaimed_at, rivals_of, target_of
from heliograph_operator.autoscale.subject import subject_of
from heliograph_operator.inventory import Inventory, Key

SCALING = {"min": 0, "max": 3}


def image_model(
    *, replicas: int = 1, scaling: Any = SCALING, status: Any = None, metadata: Any = (), **spec: Any
) -> dict[str, Any]:
    serving = {"replicas": replicas} if scaling is None else {"replicas": replicas, "scaling": scaling}
    return {
        "metadata": {"name": "tiny", "namespace": "art", "generation": 2, "resourceVersion": "1", **dict(metadata)},
        "spec": {"parameters": {"model": "x/y"}, "serving": serving, **spec},
        "status": status or {"observedGeneration": 2, "readyReplicas": replicas},
    }


def test_what_is_read_of_a_model() -> None:
    found = subject_of(image_model(replicas=2, pinned=True))
    assert found is not None
    assert (found.scaling.fewest, found.scaling.most, found.replicas, found.pinned) == (0, 3, 2, True)
    assert subject_of(image_model(scaling={})) is not None


@pytest.mark.parametrize(
    "obj",
    [
        image_model(scaling=None),
        image_model(disabled=True),
        image_model(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}),
        image_model(scaling={"min": 4, "max": 3}),
        image_model(parameters={"model": "../../etc"}),
        {"metadata": {"name": "tiny", "namespace": "art"}, "spec": {"alias": "x", "serving": {"scaling": SCALING}}},
        {"metadata": {"name": "tiny", "namespace": "art"}},
    ],
)
def test_where_there_is_nothing_to_decide(obj: dict[str, Any]) -> None:
    assert subject_of(obj) is None


def not_ready(reason: str) -> dict[str, Any]:
    return {"observedGeneration": 2, "conditions": [{"type": "Ready", "status": "False", "reason": reason}]}


@pytest.mark.parametrize(
    ("replicas", "status", "starting"),
    [
        (1, {"observedGeneration": 2, "readyReplicas": 1}, False),
        (3, {"observedGeneration": 2, "readyReplicas": 1, **not_ready("Starting")}, False),
        (1, {"observedGeneration": 1, "readyReplicas": 1}, True),
        (1, {"observedGeneration": 2}, True),
        (1, not_ready("Starting"), True),
        (1, not_ready("Fetching"), False),
        (1, not_ready("CrashLoop"), False),
        (0, {"observedGeneration": 1}, False),
    ],
)
def test_which_model_is_starting(replicas: int, status: dict[str, Any], starting: bool) -> None:
    found = subject_of(image_model(replicas=replicas, status=status))
    assert found is not None
    assert found.starting is starting


@pytest.mark.parametrize(
    ("reason", "message", "lacks"),
    [
        ("NoGpuFree", "No node takes the pod.", True),
        ("CacheNotShareable", "No node takes the pod (Insufficient nvidia.com/gpu; didn't match ...).", True),
        ("CacheNotShareable", "No node takes the pod (Insufficient memory; didn't match ...).", False),
        ("InsufficientMemory", "No node takes the pod (Insufficient memory).", False),
    ],
)
def test_which_model_waits_for_a_gpu_also_where_its_volume_leaves_no_choice(
    reason: str, message: str, lacks: bool
) -> None:
    condition = {"type": "Ready", "status": "False", "reason": reason, "message": message}
    found = subject_of(image_model(status={"observedGeneration": 2, "conditions": [condition]}))
    assert found is not None
    assert found.lacks_gpu is lacks


@pytest.mark.parametrize(
    ("written", "since"),
    [
        ("2026-05-01T12:00:00Z", datetime(2026, 5, 1, 12, tzinfo=UTC)),
        ("yesterday", None),
        ("2026-05-01T12:00:00", None),
    ],
)
def test_a_time_that_is_none_in_a_status_is_not_known(written: str, since: datetime | None) -> None:
    ready = {"type": "Ready", "status": "True", "reason": "Ready", "lastTransitionTime": written}
    found = subject_of(image_model(status={"observedGeneration": 2, "conditions": [ready]}))
    assert found is not None
    assert found.ready_since == since


def test_the_inventory_knows_the_models_that_are_scaled() -> None:
    inventory = Inventory()
    inventory.see(image_model())
    inventory.see(image_model(metadata={"name": "by-hand"}, scaling=None))
    assert list(inventory.subjects()) == [Key("art", "tiny")]
    inventory.take_stock(
        [image_model(replicas=3, metadata={"resourceVersion": "2"})], namespace=None, now=0.0, since=inventory.events
    )
    assert inventory.subjects()[Key("art", "tiny")].replicas == 3
    inventory.forget(Key("art", "tiny"))
    assert inventory.subjects() == {}


def autoscaler(kind: str, name: str, *, group: str = "heliograph.dev/v1alpha1") -> dict[str, Any]:
    reference = {"apiVersion": group, "kind": kind, "name": name}
    return {"metadata": {"name": f"of-{name}", "namespace": "art"}, "spec": {"scaleTargetRef": reference}}


def test_whom_a_horizontal_pod_autoscaler_scales() -> None:
    ours, other = autoscaler("ImageModel", "tiny"), autoscaler("ImageModel", "big")
    foreign = autoscaler("Deployment", "tiny", group="apps/v1")
    assert (target_of(ours), target_of(foreign)) == (Key("art", "tiny"), None)
    assert target_of({"metadata": {"name": "x", "namespace": "art"}}) is None
    assert rivals_of(Key("art", "tiny"), [other, ours, foreign]) == ["of-tiny"]
    assert rivals_of(Key("elsewhere", "tiny"), [ours]) == []


def test_which_horizontal_pod_autoscaler_scales_the_deployment_of_a_model() -> None:
    child = naming.child_name("tiny")
    aimed = autoscaler("Deployment", child, group="apps/v1")
    others = [autoscaler("ImageModel", child), autoscaler("Deployment", child, group="example.com/v1")]
    others += [autoscaler("StatefulSet", child, group="apps/v1"), autoscaler("Deployment", "tiny", group="apps/v1")]
    assert misaimed_at(Key("art", "tiny"), [*others, aimed]) == [f"of-{child}"]
    assert misaimed_at(Key("elsewhere", "tiny"), [aimed]) == []
    assert misaimed_at(Key("art", "tiny"), [{"metadata": {"name": "x", "namespace": "art"}}]) == []
