"""The proxy before the API server passes everything on, until it is told to fail."""

import json
import ssl
import threading
from collections.abc import Iterator
from queue import SimpleQueue

import httpx
import pytest

from cluster.control_plane import ControlPlane
from cluster.fault_proxy import FaultProxy, expired, lagging, refusing

CONFIG_MAPS = "/api/v1/namespaces/{}/configmaps"


@pytest.fixture
def proxy(cluster: ControlPlane) -> Iterator[FaultProxy]:
    certificate, key = cluster.serving_certificate
    with FaultProxy(upstream=cluster.url, ca=cluster.ca_certificate, certificate=certificate, key=key) as proxy:
        yield proxy


@pytest.fixture
def client(cluster: ControlPlane, proxy: FaultProxy, namespace: str) -> Iterator[httpx.Client]:
    """A client by the proxy, as an account that may edit; a certificate of its own would end at the proxy."""
    binding = ("create", "rolebinding", "editor", "-n", namespace, "--clusterrole=edit")
    cluster.kubectl(*binding, f"--serviceaccount={namespace}:default")
    token = cluster.service_account_token(namespace, "default")
    with httpx.Client(
        base_url=proxy.url + CONFIG_MAPS.format(namespace),
        headers={"Authorization": f"Bearer {token}"},
        verify=ssl.create_default_context(cafile=cluster.ca_certificate),
        trust_env=False,
        timeout=10,
    ) as client:
        yield client


def test_requests_and_watches_pass(client: httpx.Client) -> None:
    version = client.get("").raise_for_status().json()["metadata"]["resourceVersion"]
    with client.stream("GET", "", params={"watch": "true", "resourceVersion": version}) as watch:
        assert client.post("", json={"metadata": {"name": "new"}}).status_code == 201
        assert json.loads(next(watch.iter_lines()))["object"]["metadata"]["name"] == "new"
    assert client.get("/absent").status_code == 404


def test_refusals_and_delays(proxy: FaultProxy, client: httpx.Client) -> None:
    with proxy.failing(refusing(429, "Too many requests", one_in=2, headers={"Retry-After": "1"})):
        answers = [client.get("") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [429, 200, 429, 200]
    assert answers[0].headers["Retry-After"] == "1"
    assert answers[0].json()["message"] == "Too many requests"
    assert proxy.struck == 4
    with proxy.failing(lagging(0.5)), pytest.raises(httpx.ReadTimeout):
        client.get("", timeout=0.3)
    assert client.get("").is_success


@pytest.mark.parametrize(("by_event", "status"), [(True, 200), (False, 410)])
def test_watches_that_have_expired(proxy: FaultProxy, client: httpx.Client, by_event: bool, status: int) -> None:
    with proxy.failing(expired(by_event=by_event)):
        assert client.get("").is_success
        answer = client.get("", params={"watch": "true"})
    assert answer.status_code == status
    event = answer.json()
    assert (event["object"] if by_event else event)["code"] == 410


def test_a_connection_that_is_swallowed_stays_dead_and_one_that_is_cut_breaks(
    proxy: FaultProxy, client: httpx.Client
) -> None:
    seen: SimpleQueue[str] = SimpleQueue()

    def watch() -> None:
        try:
            with client.stream("GET", "", params={"watch": "true"}, timeout=5) as stream:
                for line in stream.iter_lines():
                    seen.put(json.loads(line)["object"]["metadata"]["name"])
        except httpx.HTTPError as error:
            seen.put(type(error).__name__)

    thread = threading.Thread(target=watch)
    thread.start()
    assert seen.get(timeout=10) == "kube-root-ca.crt"
    with proxy.black_hole(), pytest.raises(httpx.ReadTimeout):
        client.get("", timeout=0.3)
    assert client.post("", json={"metadata": {"name": "unseen"}}).status_code == 201
    assert seen.get(timeout=10) == "ReadTimeout"
    thread.join()

    thread = threading.Thread(target=watch)
    thread.start()
    assert {seen.get(timeout=10), seen.get(timeout=10)} == {"kube-root-ca.crt", "unseen"}
    proxy.cut()
    assert seen.get(timeout=10) in ("ReadError", "RemoteProtocolError")
    thread.join()
    assert client.get("").is_success
