"""Waking models by their /scale, on a real API server."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from kubernetes.aio import client

from cluster.addresses import free_port
from cluster.control_plane import ControlPlane
from gateway.manifests import image_model
from heliograph_gateway.kube import KubeApi
from heliograph_gateway.names import Route
from heliograph_gateway.waking import ScaleWaker

COLLECTION = "/apis/heliograph.dev/v1alpha1/namespaces/{}/imagemodels"


class Models:
    """The ImageModels of a namespace."""

    def __init__(self, cluster: ControlPlane, namespace: str) -> None:
        self._admin = cluster.admin
        self._namespace = namespace
        self._path = COLLECTION.format(namespace)
        self.audit = cluster.audit

    def create(self, name: str, *, replicas: int, **scaling: int) -> Route:
        """Create one and return its route."""
        serving = {"replicas": replicas, "scaling": {"min": 0, **scaling}}
        obj = {
            "apiVersion": "heliograph.dev/v1alpha1",
            "kind": "ImageModel",
            "metadata": {"name": name},
            "spec": {"parameters": {"model": "weights"}, "serving": serving},
        }
        self._admin.post(self._path, json=obj).raise_for_status()
        return Route(image_model(name, self._namespace, serving=serving))

    def replicas(self, name: str) -> int:
        found: int = self._admin.get(f"{self._path}/{name}").raise_for_status().json()["spec"]["serving"]["replicas"]
        return found

    def touch(self, name: str) -> None:
        """Change the status, as the operator may at any moment."""
        self._admin.patch(
            f"{self._path}/{name}/status",
            headers={"Content-Type": "application/merge-patch+json"},
            json={"status": {"observedGeneration": 1}},
        ).raise_for_status()


@pytest.fixture
def models(imagemodels: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Models:
    monkeypatch.setenv("KUBECONFIG", str(imagemodels.kubeconfig("gateway", groups=("system:masters",))))
    return Models(imagemodels, namespace)


def wake(
    *routes: Route, is_wanted: Callable[[], bool] = lambda: True, kind: type[KubeApi] = KubeApi
) -> list[tuple[str, str]]:
    """Have models woken, wait for the attempts to end, and return those that were."""
    woken: list[tuple[str, str]] = []

    async def run() -> None:
        async with await kind.connect() as api:
            waker = ScaleWaker(api)
            for route in routes:
                waker.wake(route, is_wanted=is_wanted, on_woken=lambda route: woken.append(route.key))
            await asyncio.gather(*waker._at_work.values())
        await asyncio.sleep(0.1)

    asyncio.run(asyncio.wait_for(run(), 30))
    return woken


def test_a_model_is_woken_to_its_fewest_replicas(models: Models) -> None:
    asleep, larger = models.create("asleep", replicas=0), models.create("larger", replicas=0, min=3)
    assert sorted(wake(asleep, larger)) == sorted([asleep.key, larger.key])
    assert (models.replicas("asleep"), models.replicas("larger")) == (1, 3)


def test_many_requests_wake_it_once(models: Models) -> None:
    asleep = models.create("asleep", replicas=0)
    mark = models.audit.mark()
    assert wake(*[asleep] * 50) == [asleep.key]
    assert [(event.verb, event.code) for event in models.audit.events(mark, user="gateway")] == [("update", 200)]


def test_a_model_that_is_awake_is_left_as_it_is(models: Models) -> None:
    awake = models.create("awake", replicas=5)
    mark = models.audit.mark()
    assert wake(awake) == []
    assert models.audit.events(mark, user="gateway") == []


def test_a_change_in_between_is_no_obstacle(models: Models) -> None:
    asleep = models.create("asleep", replicas=0)
    changes = iter([1])

    class Interrupted(KubeApi):
        async def get(self, path: str) -> dict[str, Any]:
            found = await super().get(path)
            for _ in changes:
                models.touch("asleep")
            return found

    mark = models.audit.mark()
    assert wake(asleep, kind=Interrupted) == [asleep.key]
    assert [event.code for event in models.audit.events(mark, user="gateway")] == [409, 200]
    assert models.replicas("asleep") == 1


def test_a_model_that_is_gone_is_given_up(models: Models) -> None:
    assert wake(Route(image_model("gone", "default", serving={"scaling": {}}))) == []


def test_it_is_tried_for_as_long_as_somebody_waits(
    models: Models, cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kubeconfig = cluster.kubeconfig()
    away = kubeconfig.with_name("away.kubeconfig")
    away.write_text(kubeconfig.read_text().replace(cluster.url, f"https://127.0.0.1:{free_port()}"))
    monkeypatch.setenv("KUBECONFIG", str(away))
    attempts = iter([True, True, False])
    route = Route(image_model("asleep", "default", serving={"scaling": {}}))
    assert wake(route, is_wanted=lambda: next(attempts)) == []
    assert sum("default/asleep is not woken" in record.getMessage() for record in caplog.records) == 2


def test_who_asks_in_the_moment_in_which_an_attempt_ends_is_heard() -> None:
    asked: list[str] = []

    async def run() -> None:
        waker = ScaleWaker(KubeApi(client.Configuration()))
        route = Route(image_model("asleep", serving={"scaling": {}}))

        def is_wanted(name: str, *, then: Callable[[], None] = lambda: None) -> bool:
            asked.append(name)
            asyncio.get_running_loop().call_soon(then)
            return False

        def wake(name: str, **options: Any) -> None:
            waker.wake(route, is_wanted=partial(is_wanted, name, **options), on_woken=lambda _: None)

        wake("first", then=partial(wake, "second"))
        await asyncio.sleep(0.1)
        assert not waker._at_work

    asyncio.run(asyncio.wait_for(run(), 30))
    assert asked == ["first", "second"]
