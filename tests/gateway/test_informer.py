"""The informer against a real API server, and what is between them failing."""

import asyncio
import logging
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from cluster.control_plane import ControlPlane
from cluster.waiting import eventually
from gateway.informing import Recorder, apply_crd, relayed, running
from heliograph_api import naming
from heliograph_gateway import informer as informer_module
from heliograph_gateway import kube
from heliograph_gateway.informer import Informer
from heliograph_gateway.kube import KubeApi, KubeError

LABELS = {"watched": "yes"}


class Collection:
    """A collection that an informer under test watches."""

    def __init__(self, cluster: ControlPlane, path: str, **body: Any) -> None:
        self.path = path
        self._body = body
        self._http = cluster.admin

    def create(self, name: str, labels: dict[str, str] | None = None) -> None:
        metadata = {"name": name, "labels": LABELS if labels is None else labels}
        self._http.post(self.path, json={"metadata": metadata, **self._body}).raise_for_status()

    def change(self, name: str, **fields: Any) -> None:
        headers = {"content-type": "application/merge-patch+json"}
        self._http.patch(f"{self.path}/{name}", json=fields, headers=headers).raise_for_status()

    def delete(self, name: str) -> None:
        self._http.delete(f"{self.path}/{name}").raise_for_status()

    def informer(self, api: KubeApi, handler: Recorder, **options: Any) -> Informer:
        return Informer(api, path=self.path, handler=handler, label_selector="watched", **options)


@pytest.fixture
def config_maps(cluster: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Collection:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig()))
    return Collection(cluster, f"/api/v1/namespaces/{namespace}/configmaps")


@pytest.fixture
def image_models(cluster: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Collection:
    """A collection whose history has a beginning: the API server knows nothing of it before its definition."""
    apply_crd(cluster)
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig()))
    return Collection(
        cluster,
        f"/apis/{naming.API_VERSION}/namespaces/{namespace}/{naming.PLURAL}",
        apiVersion=naming.API_VERSION,
        kind=naming.KIND,
        spec={"parameters": {"model": "weights"}},
    )


def names(recorder: Recorder) -> set[str]:
    return set(recorder.objects)


def test_objects_are_listed_and_followed(config_maps: Collection) -> None:
    config_maps.create("old")
    config_maps.create("unlabelled", {})
    seen = Recorder()
    with running(lambda api: [config_maps.informer(api, seen)]) as (informer,):
        eventually(lambda: informer.synced, what="first list")
        assert names(seen) == {"old"}
        config_maps.create("new")
        eventually(lambda: names(seen) == {"old", "new"}, what="new object")
        config_maps.change("new", data={"a": "b"})
        eventually(lambda: seen.objects["new"].get("data") == {"a": "b"}, what="change")
        config_maps.change("new", metadata={"labels": {"watched": None}})
        config_maps.delete("old")
        eventually(lambda: not names(seen), what="both gone")
        assert informer.age() < 30
    assert seen.calls == ["changed old", "changed new", "changed new", "deleted new", "deleted old"]


def test_lists_come_in_pages(config_maps: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube, "_PAGE", 2)
    for number in range(5):
        config_maps.create(f"number-{number}")
    seen = Recorder()
    with running(lambda api: [config_maps.informer(api, seen)]) as (informer,):
        eventually(lambda: informer.synced, what="first list")
        assert len(seen.calls) == len(names(seen)) == 5


def test_a_watch_that_ends_is_followed_by_another_and_no_list(
    config_maps: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def counted(name: str) -> None:
        original = getattr(KubeApi, name)

        def call(*arguments: Any, **options: Any) -> Any:
            calls.append(name)
            return original(*arguments, **options)

        monkeypatch.setattr(KubeApi, name, call)

    counted("list_objects")
    counted("watch")
    seen = Recorder()
    with running(lambda api: [config_maps.informer(api, seen, watch_seconds=2)]):
        eventually(lambda: calls.count("watch") == 3, what="third watch")
        config_maps.create("new")
        eventually(lambda: names(seen) == {"new"}, what="new object")
    assert calls.count("list_objects") == 1


def test_what_happened_while_the_api_was_away_is_caught_up_on(
    config_maps: Collection, cluster: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("kept", "changed", "deleted", "replaced"):
        config_maps.create(name)
    seen = Recorder()
    with (
        relayed(cluster, tmp_path, monkeypatch) as relay,
        running(lambda api: [config_maps.informer(api, seen)]) as (informer,),
    ):
        eventually(lambda: informer.synced, what="first list")
        before = dict(seen.objects)
        del seen.calls[:]
        relay.cut()
        config_maps.change("changed", data={"a": "b"})
        config_maps.delete("deleted")
        config_maps.delete("replaced")
        config_maps.create("replaced")
        config_maps.create("new")
        eventually(lambda: informer.age() > 2, what="the outage's second second")
        assert seen.objects == before
        assert informer.synced
        relay.restore()
        eventually(lambda: "new" in names(seen), what="list after the outage")
        assert names(seen) == {"kept", "changed", "replaced", "new"}
        assert sorted(seen.calls) == ["changed changed", "changed new", "changed replaced", "deleted deleted"]
        assert seen.objects["replaced"]["metadata"]["uid"] != before["replaced"]["metadata"]["uid"]
        config_maps.delete("kept")
        eventually(lambda: "kept" not in names(seen), what="a delete after the outage")


def test_a_connection_that_falls_silent_is_given_up(
    config_maps: Collection, cluster: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(informer_module, "_SILENCE_SLACK", 1.0)
    config_maps.create("old")
    seen = Recorder()
    with (
        relayed(cluster, tmp_path, monkeypatch) as relay,
        running(lambda api: [config_maps.informer(api, seen, watch_seconds=2)]) as (informer,),
    ):
        eventually(lambda: informer.synced, what="first list")
        relay.stall()
        config_maps.delete("old")
        eventually(lambda: not names(seen), what="the delete, on another connection")
        # Else the stalled connection waits for the end of TLS that never comes.
        relay.cut()


def test_a_version_that_is_too_old_is_gone(image_models: Collection) -> None:
    async def watch_from_the_beginning() -> int | None:
        async with await KubeApi.connect() as api:
            events = api.watch(image_models.path, resource_version="1", seconds=5, silence=10)
            try:
                async with aclosing(events):
                    async for _ in events:
                        pass
            except KubeError as error:
                return error.status
        return None

    # For a moment after the definition of a kind, the API server asks to come back later.
    eventually(lambda: asyncio.run(watch_from_the_beginning()) == 410, what="refusal of an old version")


def test_after_gone_all_is_listed_again(image_models: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    image_models.create("old")
    seen = Recorder()
    listed = KubeApi.list_objects
    results: list[list[str]] = []

    async def list_objects(api: KubeApi, path: str, *, label_selector: str) -> tuple[list[dict[str, Any]], str]:
        objects, version = await listed(api, path, label_selector=label_selector)
        results.append([obj["metadata"]["name"] for obj in objects])
        if len(results) == 1:
            image_models.delete("old")
            return objects, "1"
        return objects, version

    monkeypatch.setattr(KubeApi, "list_objects", list_objects)
    with running(lambda api: [image_models.informer(api, seen)]):
        eventually(lambda: seen.calls == ["changed old", "deleted old"], what="delete that no watch told of")
    assert results == [["old"], []]


def test_a_refusal_is_logged_once_and_tried_again(
    config_maps: Collection,
    cluster: ControlPlane,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def said() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == informer_module.__name__]

    caplog.set_level(logging.INFO)
    monkeypatch.setenv("KUBECONFIG", str(cluster.service_account_kubeconfig(namespace, "default")))
    with running(lambda api: [config_maps.informer(api, Recorder())]) as (informer,):
        eventually(said, what="refusal")
        assert not informer.synced
        binding = ("create", "rolebinding", "reader", "-n", namespace, "--clusterrole=view")
        cluster.kubectl(*binding, f"--serviceaccount={namespace}:default")
        eventually(lambda: informer.synced, what="list after the grant")
        config_maps.create("new")
        eventually(lambda: len(said()) == 3, what="end of the outage in the log")
    refusal, listed, recovered = said()
    assert refusal.startswith(f"{namespace}/configmaps: 403: configmaps is forbidden: User ")
    assert listed == f"{namespace}/configmaps: 0 listed"
    assert recovered == f"{namespace}/configmaps: the Kubernetes API answers again"


def test_an_object_that_cannot_be_read_hides_no_other(
    config_maps: Collection, caplog: pytest.LogCaptureFixture
) -> None:
    class Picky(Recorder):
        def changed(self, obj: Any) -> None:
            if obj["metadata"]["name"].startswith("bad"):
                raise KeyError("odd")
            super().changed(obj)

    for name in ("bad", "good"):
        config_maps.create(name)
    seen = Picky()
    with running(lambda api: [config_maps.informer(api, seen)]):
        eventually(lambda: names(seen) == {"good"}, what="good object")
        config_maps.create("bad-too")
        config_maps.create("good-too")
        eventually(lambda: names(seen) == {"good", "good-too"}, what="second good object")
    assert "/bad cannot be read" in caplog.text


def test_without_a_way_to_the_api_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))
    with pytest.raises(KubeError, match="missing; set KUBECONFIG, or run inside a cluster"):
        asyncio.run(KubeApi.connect())


def test_proxies_of_the_environment_are_not_used(config_maps: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with running(lambda api: [config_maps.informer(api, Recorder())]) as (informer,):
        eventually(lambda: informer.synced, what="first list")
