"""The operator's API client against a real API server."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from cluster.addresses import free_port
from cluster.control_plane import ControlPlane
from heliograph_operator import kube
from heliograph_operator.kube import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    KubeClient,
    NotFoundError,
    UnavailableError,
    connect,
)
from heliograph_operator.metrics import Metrics
from heliograph_operator.resources import CONFIG_MAPS, DEPLOYMENTS, IMAGE_MODELS, LEASES, Object, Resource
from operator_rig import Served

T = TypeVar("T")
Call = Callable[[Callable[[KubeClient], Awaitable[Any]]], Any]


@pytest.fixture
def call(cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Call the API as the administrator."""
    return caller(cluster.kubeconfig(), monkeypatch)


def caller(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))

    def call(use: Callable[[KubeClient], Awaitable[Any]]) -> Any:
        async def connected() -> Any:
            async with connect(request_timeout=10) as client:
                return await use(client)

        return asyncio.run(connected())

    return call


def config_map(namespace: str, name: str = "x", **data: str) -> Object:
    metadata = {"name": name, "namespace": namespace, "labels": {"app": "test"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def test_apply_get_list_and_delete(call: Call, namespace: str) -> None:
    applied = call(lambda api: api.apply(CONFIG_MAPS, config_map(namespace, a="1")))
    assert call(lambda api: api.get(CONFIG_MAPS, namespace, "x")) == applied
    (listed,) = call(lambda api: api.list(CONFIG_MAPS, namespace, labels={"app": "test"}))
    assert listed == applied
    assert call(lambda api: api.list(CONFIG_MAPS, namespace, labels={"app": "other"})) == []
    # A field that is no longer applied is gone, as server-side apply has it.
    assert call(lambda api: api.apply(CONFIG_MAPS, config_map(namespace, b="2")))["data"] == {"b": "2"}
    call(lambda api: api.delete(CONFIG_MAPS, applied))
    with pytest.raises(NotFoundError, match='configmaps "x" not found'):
        call(lambda api: api.get(CONFIG_MAPS, namespace, "x"))


def test_a_list_holds_what_has_all_the_labels_and_fields(call: Call, namespace: str) -> None:
    call(lambda api: api.apply(CONFIG_MAPS, config_map(namespace, "x")))
    call(lambda api: api.apply(CONFIG_MAPS, config_map(namespace, "y")))
    found = call(lambda api: api.list(CONFIG_MAPS, namespace, fields={"metadata.name": "y"}))
    assert [item["metadata"]["name"] for item in found] == ["y"]
    assert call(lambda api: api.list(CONFIG_MAPS, namespace, fields={"metadata.name": "y"}, labels={"a": "b"})) == []


def test_a_long_list_comes_whole(call: Call, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube, "_LIST_LIMIT", 2)

    async def apply_all(api: KubeClient) -> None:
        for number in range(5):
            await api.apply(CONFIG_MAPS, config_map(namespace, f"n{number}"))

    call(apply_all)
    listed = call(lambda api: api.list(CONFIG_MAPS, namespace, labels={"app": "test"}))
    assert [item["metadata"]["name"] for item in listed] == ["n0", "n1", "n2", "n3", "n4"]
    assert any(item["metadata"]["namespace"] == namespace for item in call(lambda api: api.list(CONFIG_MAPS, None)))


def test_only_the_object_that_was_read_is_deleted(call: Call, namespace: str) -> None:
    applied = call(lambda api: api.apply(CONFIG_MAPS, config_map(namespace)))
    applied["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"
    with pytest.raises(ConflictError):
        call(lambda api: api.delete(CONFIG_MAPS, applied))
    assert call(lambda api: api.get(CONFIG_MAPS, namespace, "x"))


def test_a_status_is_written_over_the_one_that_was_read_alone(call: Call, unserved: Served) -> None:
    unserved.apply("m", {"parameters": {"model": "x"}})
    model = call(lambda api: api.get(IMAGE_MODELS, unserved.namespace, "m"))
    written = call(lambda api: api.patch_status(IMAGE_MODELS, model, {"replicas": 3, "model": "x"}))
    assert written["status"] == {"replicas": 3, "model": "x"}
    assert written["metadata"]["generation"] == model["metadata"]["generation"]
    with pytest.raises(ConflictError, match="has been modified"):
        call(lambda api: api.patch_status(IMAGE_MODELS, model, {"replicas": 4}))
    written = call(lambda api: api.patch_status(IMAGE_MODELS, written, {"model": None}))
    assert written["status"] == {"replicas": 3}


def test_the_size_is_written_if_nobody_else_wrote_meanwhile(call: Call, unserved: Served) -> None:
    unserved.apply("m", {"parameters": {"model": "x"}, "serving": {"replicas": 1}})
    model = call(lambda api: api.get(IMAGE_MODELS, unserved.namespace, "m"))
    call(lambda api: api.scale(IMAGE_MODELS, model, 3))
    with pytest.raises(ConflictError, match="has been modified"):
        call(lambda api: api.scale(IMAGE_MODELS, model, 0))
    scaled = call(lambda api: api.get(IMAGE_MODELS, unserved.namespace, "m"))
    assert scaled["spec"] == {**model["spec"], "serving": {"replicas": 3}}


def test_others_fields_are_a_conflict_without_force(call: Call, cluster: ControlPlane, namespace: str) -> None:
    theirs = json.dumps(config_map(namespace, a="theirs"))
    cluster.kubectl("apply", "--server-side", "--field-manager=them", "-f", "-", input=theirs)
    with pytest.raises(ConflictError, match='conflict with "them"'):
        call(lambda api: api.apply(CONFIG_MAPS, config_map(namespace, a="ours"), force=False))
    assert call(lambda api: api.apply(CONFIG_MAPS, config_map(namespace, a="ours")))["data"] == {"a": "ours"}


def test_a_change_since_reading_is_a_conflict(call: Call, namespace: str) -> None:
    metadata = {"name": "l", "namespace": namespace}
    lease = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": {}}
    made = call(lambda api: api.create(LEASES, lease))
    with pytest.raises(ConflictError, match="already exists"):
        call(lambda api: api.create(LEASES, lease))
    changed = {**made, "spec": {"holderIdentity": "a"}}
    call(lambda api: api.replace(LEASES, changed))
    with pytest.raises(ConflictError, match="has been modified"):
        call(lambda api: api.replace(LEASES, {**made, "spec": {"holderIdentity": "b"}}))


def test_what_is_served(call: Call, imagemodels: ControlPlane) -> None:
    assert call(lambda api: api.serves(IMAGE_MODELS))
    assert call(lambda api: api.serves(CONFIG_MAPS))
    assert not call(lambda api: api.serves(Resource("heliograph.dev/v1alpha1", "Other", "others")))
    assert not call(lambda api: api.serves(Resource("absent.example/v1", "Other", "others")))


def test_refusals_are_told_apart(
    call: Call, cluster: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = {"name": "d", "namespace": namespace}
    with pytest.raises(InvalidError, match=r"spec\.selector: Required value"):
        call(lambda api: api.apply(DEPLOYMENTS, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata}))
    nobody = caller(cluster.kubeconfig("nobody"), monkeypatch)
    with pytest.raises(ForbiddenError, match='User "nobody" cannot get resource "configmaps"'):
        nobody(lambda api: api.get(CONFIG_MAPS, namespace, "x"))


def test_no_answer_is_said_without_an_address_of_an_object(
    cluster: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = cluster.kubeconfig().read_text().replace(cluster.url, f"https://127.0.0.1:{free_port()}")
    (tmp_path / "kubeconfig").write_text(text)
    call = caller(tmp_path / "kubeconfig", monkeypatch)
    with pytest.raises(UnavailableError, match="The API server does not answer") as caught:
        call(lambda api: api.get(CONFIG_MAPS, "default", "x"))
    assert " object at 0x" not in str(caught.value)


def test_each_request_is_reported(cluster: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig()))
    metrics = Metrics()

    async def requests() -> None:
        async with connect(request_timeout=10, metrics=metrics) as api:
            await api.list(CONFIG_MAPS, namespace)
            with pytest.raises(NotFoundError):
                await api.get(CONFIG_MAPS, namespace, "absent")
            await api.apply(CONFIG_MAPS, config_map(namespace))

    asyncio.run(requests())
    text = metrics.text().decode()
    for method, status in (("GET", 200), ("GET", 404), ("PATCH", 201)):
        sample = f'heliograph_operator_api_requests_total{{method="{method}",status="{status}"}} 1.0'
        assert sample in text
    assert 'heliograph_operator_api_request_seconds_count{method="GET"} 2.0' in text


def test_the_proxy_of_the_environment_is_not_asked(call: Call, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert call(lambda api: api.get(CONFIG_MAPS, namespace, "kube-root-ca.crt"))


def test_an_answer_from_something_else_is_cut_short() -> None:
    error = kube._error(502, b"<html>" + b"x" * 10_000)
    assert isinstance(error, UnavailableError)
    assert len(error.message) == 200


def test_an_admission_webhook_that_does_not_answer_refuses_the_object() -> None:
    text = 'Internal error occurred: failed calling webhook "guard.example.org": context deadline exceeded'
    assert isinstance(kube._error(500, json.dumps({"message": text}).encode()), ForbiddenError)
    assert isinstance(kube._error(500, b'{"message": "etcdserver: request timed out"}'), UnavailableError)
