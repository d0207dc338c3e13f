"""Which keys an event adds to the queue, and how kopf is set up."""

import asyncio
import itertools
from typing import Any

import kopf
import pytest
from kopf._cogs.structs.references import Selector

from heliograph_api import naming
from heliograph_operator.events import (
    add_model,
    add_model_of_pod,
    add_owner,
    add_sharers,
    build_registry,
    build_settings,
)
from heliograph_operator.inventory import Inventory, Key
from heliograph_operator.metrics import Metrics
from heliograph_operator.plan.claim import Share
from heliograph_operator.plan.collection import plan_collect_job
from heliograph_operator.resources import CHILD_RESOURCES, HORIZONTAL_POD_AUTOSCALERS, IMAGE_MODELS, PODS
from heliograph_operator.settings import OperatorSettings
from heliograph_operator.workqueue import WorkQueue


class Watched:
    """A queue and an inventory, fed with events."""

    def __init__(self) -> None:
        self.queue: WorkQueue[Key] = WorkQueue(metrics=Metrics())
        self.inventory = Inventory()

    def model(self, name: str, *, deleted: bool = False, **spec: Any) -> set[str]:
        metadata = {"name": name, "namespace": "art", "resourceVersion": "1"}
        obj = {"metadata": metadata, "spec": spec}
        add_model(obj, deleted=deleted, queue=self.queue, inventory=self.inventory)
        return self.take()

    def child(self, metadata: dict[str, Any]) -> set[str]:
        add_owner({"metadata": {"namespace": "art", **metadata}}, queue=self.queue, inventory=self.inventory)
        return self.take()

    def pod(self, *, status: dict[str, Any], **metadata: Any) -> set[str]:
        labels = naming.child_labels("tiny")
        obj = {"metadata": {"namespace": "art", "labels": labels, **metadata}, "status": status}

        async def scheduled() -> set[str]:
            add_model_of_pod(obj, queue=self.queue, inventory=self.inventory)
            assert not self.take()
            timers, self.queue._timers = self.queue._timers, {}
            return {str(key) for key in timers}

        return asyncio.run(scheduled())

    def take(self) -> set[str]:
        keys = {str(key) for waiting in (self.queue._urgent, self.queue._waiting) for key in waiting}
        self.queue._urgent.clear()
        self.queue._waiting.clear()
        return keys


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_an_image_model_concerns_itself_and_aliases_when_its_names_change(watched: Watched) -> None:
    assert watched.model("dall-e", alias="tiny") == {"art/dall-e"}
    assert watched.model("tiny") == {"art/tiny", "art/dall-e"}
    assert watched.model("tiny", step=3) == {"art/tiny"}
    assert watched.model("tiny", serving={"aliases": ["wee"]}) == {"art/tiny"}
    assert watched.model("tiny", alias="other") == {"art/tiny", "art/dall-e"}
    assert watched.model("tiny", deleted=True) == {"art/tiny", "art/dall-e"}


def test_a_deletion_concerns_aliases_though_a_reconciliation_found_it_first(watched: Watched) -> None:
    watched.model("dall-e", alias="tiny")
    watched.model("tiny")
    watched.inventory.forget(Key("art", "tiny"))
    assert watched.model("tiny", deleted=True) == {"art/tiny", "art/dall-e"}


def test_what_the_operator_wrote_itself_concerns_nobody(watched: Watched) -> None:
    watched.model("tiny")
    written = {"metadata": {"name": "tiny", "namespace": "art", "resourceVersion": "2"}}
    watched.inventory.wrote(Key("art", "tiny"), written)
    add_model(written, deleted=False, queue=watched.queue, inventory=watched.inventory)
    assert watched.take() == set()
    others = {"metadata": {**written["metadata"], "resourceVersion": "3"}}
    add_model(others, deleted=False, queue=watched.queue, inventory=watched.inventory)
    assert watched.take() == {"art/tiny"}
    add_model(written, deleted=True, queue=watched.queue, inventory=watched.inventory)
    assert watched.take() == {"art/tiny"}


def test_a_new_spec_is_urgent_and_a_new_status_is_not(watched: Watched) -> None:
    def is_urgent(generation: int, version: str) -> bool:
        metadata = {"name": "tiny", "namespace": "art", "resourceVersion": version, "generation": generation}
        add_model({"metadata": metadata}, deleted=False, queue=watched.queue, inventory=watched.inventory)
        urgent = bool(watched.queue._urgent)
        assert watched.take() == {"art/tiny"}
        return urgent

    assert [is_urgent(1, "1"), is_urgent(1, "2"), is_urgent(2, "3")] == [True, False, True]


def test_a_child_concerns_its_controller(watched: Watched) -> None:
    assert watched.child({"ownerReferences": [naming.owner_reference("tiny", "1")]}) == {"art/tiny"}
    foreign = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "2", "controller": True}
    assert watched.child({"ownerReferences": [foreign], "labels": naming.child_labels("tiny")}) == set()


def test_the_job_that_collects_concerns_a_model_that_is_gone() -> None:
    watched = Watched()
    claim = {"metadata": {"name": "heliograph-weights", "namespace": "art", "uid": "1"}}
    settings = OperatorSettings()
    job = plan_collect_job(claim=claim, name="tiny", folder="tiny-01234567-89abcdef", settings=settings)
    assert watched.child(job["metadata"]) == {"art/tiny"}


def test_a_shared_claim_concerns_who_leaves_something_in_it(watched: Watched) -> None:
    def claim(*names: str, deleted: bool = False) -> set[str]:
        shares = [Share(folders=frozenset({f"{naming.child_name(name)}-89abcdef"})) for name in names]
        marks = {
            key: text for name, share in zip(names, shares, strict=True) for key, text in share.annotation(name).items()
        }
        strange = {"weights.heliograph.dev/x": "[", "weights.heliograph.dev/y": '{"model": 3}', "z": '{"model": "z"}'}
        obj = {"metadata": {"name": "weights", "namespace": "art", "annotations": {**marks, **strange}}}
        add_sharers(obj, deleted=deleted, queue=watched.queue, inventory=watched.inventory)
        return watched.take()

    watched.model("tiny")
    assert claim("tiny") == {"art/tiny"}
    assert claim("tiny", "ghost") == {"art/ghost"}
    assert claim("tiny", deleted=True) == {"art/tiny", "art/ghost"}


def test_a_child_without_a_controller_concerns_whom_its_label_names(watched: Watched) -> None:
    assert watched.child({"labels": naming.child_labels("tiny")}) == set()
    watched.model("tiny")
    assert watched.child({"labels": naming.child_labels("tiny")}) == {"art/tiny"}
    assert watched.child({}) == set()


def test_a_pod_concerns_its_model_unless_it_is_going_or_its_deployment_tells_the_same(watched: Watched) -> None:
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    assert watched.pod(status={}) == set()
    watched.model("tiny")
    assert watched.pod(status={}) == {"art/tiny"}
    assert watched.pod(status=ready) == set()
    assert watched.pod(status={}, deletionTimestamp="2026-05-01T12:00:00Z") == set()


def test_every_kind_of_child_is_watched_by_our_label_alone(watched: Watched) -> None:
    registry = build_registry(queue=watched.queue, inventory=watched.inventory)
    handled = {handler.selector for handler in registry._watching.get_all_handlers()}
    selected = build_settings(request_timeout=30).watching.label_selectors
    ours = {Selector(resource.api_version, resource.plural) for resource in (*CHILD_RESOURCES, PODS)}
    assert {selector for selector in handled if selector in selected} == ours
    others = (IMAGE_MODELS, HORIZONTAL_POD_AUTOSCALERS)
    assert handled - ours == {Selector(resource.api_version, resource.plural) for resource in others}
    assert set(selected.values()) == {"app.kubernetes.io/managed-by=heliograph"}


def test_nothing_that_kopf_does_writes(watched: Watched) -> None:
    registry = build_registry(queue=watched.queue, inventory=watched.inventory)
    assert not list(registry._changing.get_all_handlers())
    assert not list(registry._spawning.get_all_handlers())
    settings = build_settings(request_timeout=30)
    assert settings.peering.standalone
    assert not settings.posting.enabled
    assert settings.queueing.worker_limit is None


def test_an_api_server_that_is_away_is_asked_for_ever_and_not_too_often() -> None:
    backoffs = build_settings(request_timeout=30).networking.error_backoffs
    assert not isinstance(backoffs, float)
    for _ in range(2):
        delays = list(itertools.islice(iter(backoffs), 100))
        assert delays[0] <= 1
        assert 15 <= max(delays) <= 30


def test_kopf_is_new_enough() -> None:
    assert isinstance(kopf.OperatorSettings().watching.inactivity_timeout, float)
