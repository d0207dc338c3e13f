"""Passing requests on to runtimes, which may be away, die, dawdle or answer nonsense."""

import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import openai
import pytest

from cluster.waiting import eventually
from gateway.peers import Behaviour, Peer, answer, hold, refusing_endpoint, reset, say
from gateway.running import StartGateway
from heliograph_gateway.names import Route

IMAGES = {"created": 1, "data": [{"b64_json": "AAAA"}]}
ENVELOPE = {"error": {"message": "steps: too many.", "type": "invalid_request_error", "param": "steps", "code": "x"}}
FULL = {"error": {"message": "64 wait.", "type": "rate_limit_error", "param": None, "code": "queue_full"}}
SCALED = {"serving": {"scaling": {"min": 0}}}
DIED = {
    "closes without an answer": say(b""),
    "is killed without an answer": reset(),
    "is killed inside the headers": reset(b"HTTP/1.1 200 OK\r\ncontent-"),
    "does not speak HTTP": say(b"220 mail.example ESMTP\r\n"),
    "sends headers without end": say(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000),
}


def error_of(response: httpx.Response) -> dict[str, str]:
    error: dict[str, str] = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return error


def test_the_body_arrives_unchanged(start_gateway: StartGateway) -> None:
    body = b'\n{ "prompt":"a  \\u0063ircle", "model" : "tiny", "unknown": [1.50] }\t'
    with Peer(answer(200, IMAGES)) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint])
        headers = {"content-type": "application/json; charset=utf-8"}
        response = gateway.client.post("/v1/images/generations", content=body, headers=headers)
    assert response.json() == IMAGES
    (request,) = peer.requests
    assert request.line == "POST /v1/images/generations HTTP/1.1"
    assert request.body == body
    assert request.headers["content-type"] == "application/json; charset=utf-8"


def test_only_harmless_headers_pass(start_gateway: StartGateway) -> None:
    sent = {
        "authorization": "Bearer secret", "api-key": "secret", "x-api-key": "secret", "xi-api-key": "secret",
        "cookie": "a=b", "x-forwarded-for": "1.2.3.4",
        "x-forwarded-host": "evil", "forwarded": "for=1.2.3.4", "x-real-ip": "1.2.3.4", "connection": "x-hop",
        "x-hop": "1", "te": "trailers", "accept-encoding": "gzip", "traceparent": "00-1-2-01", "host": "evil",
    }  # fmt: skip
    runtime_headers = (
        "set-cookie: a=b", "location: http://evil", "server: uvicorn", "x-request-id: theirs", "x-should-retry: true",
        "cache-control: no-store", "connection: close", "x-heliograph-model: other", "access-control-allow-origin: *",
    )  # fmt: skip
    with Peer(answer(200, IMAGES, *runtime_headers)) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint], tiny={"name": "Tiny/Modèle"})
        response = gateway.generate(headers=sent | {"x-request-id": "id-1"})
    (request,) = peer.requests
    assert request.headers == {
        "host": f"{peer.endpoint.host}:{peer.endpoint.port}",
        "content-length": str(len(request.body)),
        "content-type": "application/json",
        "connection": "close",
        "user-agent": "heliograph-gateway",
        "accept": "*/*",
        "accept-encoding": "identity",
        "traceparent": "00-1-2-01",
        "x-request-id": "id-1",
        "x-heliograph-target": "default/tiny",
    }
    assert set(response.headers) == {
        "date", "content-type", "content-length", "cache-control", "x-should-retry", "x-request-id",
        "x-heliograph-model",
    }  # fmt: skip
    assert response.headers["x-request-id"] == "id-1"
    assert response.headers["x-heliograph-model"] == "Tiny/Mod%C3%A8le"


def test_parts_of_an_answer_come_as_they_are_sent(start_gateway: StartGateway) -> None:
    first_seen = threading.Event()

    def stream(connection: socket.socket) -> None:
        say(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n")(connection)
        assert first_seen.wait(30)
        say(b"data: 2\n\n")(connection)

    with Peer(stream) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint])
        body = {"model": "tiny", "prompt": "a circle"}
        with gateway.client.stream("POST", "/v1/images/generations", json=body) as response:
            parts = response.iter_raw()
            assert next(parts) == b"data: 1\n\n"
            first_seen.set()
            assert next(parts) == b"data: 2\n\n"
            assert list(parts) == []


def test_a_replica_that_refuses_connections_is_passed_over(start_gateway: StartGateway) -> None:
    with refusing_endpoint() as one, refusing_endpoint() as two, Peer(answer(200, IMAGES)) as peer:
        gateway = start_gateway(endpoints=[one, two, peer.endpoint])
        assert [gateway.generate().status_code for _ in range(6)] == [200] * 6
        assert len(peer.requests) == 6
        gateway.expect_metric(12, "heliograph_gateway_upstream_errors_total", model="tiny", reason="connect")


def test_a_pod_that_serves_another_model_is_passed_over(start_gateway: StartGateway) -> None:
    """Its address was that of a replica, as far as the gateway has heard."""
    error = {"error": {"message": "Other.", "type": "x", "param": None, "code": "misdirected_request"}}
    with Peer(answer(421, error)) as other, Peer(answer(200, IMAGES)) as peer:
        gateway = start_gateway(endpoints=[other.endpoint, peer.endpoint], hold_seconds=1.2)
        assert [gateway.generate().status_code for _ in range(4)] == [200] * 4
        assert len(peer.requests) == 4
        assert other.requests
        gateway.expect_metric(
            len(other.requests), "heliograph_gateway_upstream_errors_total", model="tiny", reason="misdirected"
        )
        gateway.set_endpoints(other.endpoint)
        assert gateway.generate().status_code == 503


def test_each_replica_is_tried_once_and_again_after_a_while(start_gateway: StartGateway) -> None:
    with refusing_endpoint() as one, refusing_endpoint() as two:
        gateway = start_gateway(endpoints=[one, two], hold_seconds=1.2)
        response = gateway.generate()
        assert response.status_code == 503
        assert error_of(response)["code"] == "model_not_ready"
        assert int(response.headers["retry-after"]) <= 120
        assert response.headers["x-heliograph-model"] == "tiny"
        gateway.expect_metric(4, "heliograph_gateway_upstream_errors_total", reason="connect")


@pytest.mark.parametrize("behaviour", DIED.values(), ids=DIED.keys())
def test_a_request_that_reached_a_replica_is_not_sent_again(start_gateway: StartGateway, behaviour: Behaviour) -> None:
    with Peer(behaviour) as one, Peer(behaviour) as two:
        gateway = start_gateway(endpoints=[one.endpoint, two.endpoint])
        client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none")
        with client, pytest.raises(openai.InternalServerError) as caught:
            client.images.generate(model="tiny", prompt="a circle")
        assert len(one.requests + two.requests) == 1
        assert (caught.value.status_code, caught.value.code) == (502, "upstream_failed")
        assert caught.value.response.headers["x-should-retry"] == "false"
        gateway.expect_metric(1, "heliograph_gateway_upstream_errors_total", reason="broken")
        gateway.expect_metric(0, "heliograph_gateway_outstanding_requests")


def test_an_answer_that_breaks_off_is_not_made_to_look_whole(start_gateway: StartGateway) -> None:
    beginnings = (
        b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"created":',
        b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"cre\r\n',
    )
    for beginning in beginnings:
        with Peer(reset(beginning)) as peer:
            gateway = start_gateway(endpoints=[peer.endpoint])
            with pytest.raises(httpx.RemoteProtocolError):
                gateway.generate()
            gateway.wait_until_idle()
            gateway.expect_metric(1, "heliograph_gateway_upstream_errors_total", reason="broken")


def test_a_replica_that_is_too_slow(start_gateway: StartGateway) -> None:
    with Peer(hold(threading.Event())) as one, Peer(hold(threading.Event())) as two:
        gateway = start_gateway(endpoints=[one.endpoint, two.endpoint], read_timeout=0.2)
        response = gateway.generate()
        assert (response.status_code, error_of(response)["code"]) == (504, "upstream_timeout")
        assert response.headers["x-should-retry"] == "false"
        assert len(one.requests + two.requests) == 1


def test_a_client_that_leaves_ends_the_work(start_gateway: StartGateway) -> None:
    left = threading.Event()
    with Peer(hold(left)) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint])
        with pytest.raises(httpx.ReadTimeout):
            gateway.generate(timeout=0.3)
        assert left.wait(10)
        gateway.wait_until_idle()
        gateway.expect_metric(1, "heliograph_gateway_requests_total", model="tiny", status="499")


def test_a_client_that_leaves_in_the_middle_of_an_answer_ends_the_work(start_gateway: StartGateway) -> None:
    left = threading.Event()

    def stream(connection: socket.socket) -> None:
        say(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n")(connection)
        hold(left)(connection)

    with Peer(stream) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint])
        body = {"model": "tiny", "prompt": "a circle"}
        with gateway.client.stream("POST", "/v1/images/generations", json=body) as response:
            assert next(response.iter_raw()) == b"data: 1\n\n"
        assert left.wait(10)
        gateway.wait_until_idle()


def test_load_is_spread(start_gateway: StartGateway) -> None:
    go = threading.Event()

    def work(connection: socket.socket) -> None:
        assert go.wait(30)
        answer(200, IMAGES)(connection)

    with ExitStack() as running:
        peers = [running.enter_context(Peer(work)) for _ in range(3)]
        gateway = start_gateway(endpoints=[peer.endpoint for peer in peers])
        pool = running.enter_context(ThreadPoolExecutor(12))
        answers = [pool.submit(gateway.generate) for _ in range(12)]
        eventually(lambda: sum(len(peer.requests) for peer in peers) == 12, what="all requests at work")
        assert [len(peer.requests) for peer in peers] == [4, 4, 4]
        gateway.expect_metric(12, "heliograph_gateway_outstanding_requests", model="tiny")
        go.set()
        assert [future.result().status_code for future in answers] == [200] * 12
        gateway.expect_metric(12, "heliograph_gateway_requests_total", model="tiny", status="200")


class _Queue:
    """A replica that takes so many requests at once, refuses more, and answers when told."""

    def __init__(self, room: int) -> None:
        self.go = threading.Event()
        self.refused = 0
        self._room = threading.Semaphore(room)

    def __call__(self, connection: socket.socket) -> None:
        if not self._room.acquire(blocking=False):
            self.refused += 1
            answer(429, FULL, "retry-after: 7")(connection)
            return
        assert self.go.wait(30)
        self._room.release()
        answer(200, IMAGES)(connection)


class _NoWaker:
    """Wakes nothing: the replicas are there."""

    def wake(self, route: Route, *, is_wanted: Callable[[], bool], on_woken: Callable[[Route], None]) -> None: ...

    async def aclose(self) -> None: ...


def test_requests_that_find_no_room_are_held_until_there_is(start_gateway: StartGateway) -> None:
    queue = _Queue(room=2)
    with Peer(queue) as peer, ThreadPoolExecutor(12) as pool:
        gateway = start_gateway(endpoints=[peer.endpoint], tiny=SCALED, waker=_NoWaker())
        answers = [pool.submit(gateway.generate) for _ in range(12)]
        gateway.expect_metric(10, "heliograph_gateway_held_requests", model="tiny")
        queue.go.set()
        assert [future.result().status_code for future in answers] == [200] * 12
        # Who comes while others wait joins the line at once; the first of it was refused by the replica.
        assert queue.refused
        gateway.expect_metric(0, "heliograph_gateway_held_requests", model="tiny")
        gateway.expect_metric(12, "heliograph_gateway_requests_total", model="tiny", status="200")


def test_a_client_that_leaves_while_its_request_waits_for_room(start_gateway: StartGateway) -> None:
    queue = _Queue(room=1)
    with Peer(queue) as peer, ThreadPoolExecutor(1) as pool:
        gateway = start_gateway(endpoints=[peer.endpoint], tiny=SCALED, waker=_NoWaker())
        served = pool.submit(gateway.generate)
        eventually(lambda: peer.requests, what="request at work")
        with pytest.raises(httpx.ReadTimeout):
            gateway.generate(timeout=0.5)
        gateway.expect_metric(0, "heliograph_gateway_held_requests", model="tiny")
        queue.go.set()
        assert served.result().status_code == 200


@pytest.mark.parametrize(
    ("tiny", "settings"),
    [
        pytest.param({}, {"hold_seconds": 0.3}, id="for too long, where only a person makes it larger"),
        pytest.param(SCALED, {"hold_seconds": 0.3}, id="for too long"),
        pytest.param(SCALED, {"max_held_bytes": 1}, id="too much is held"),
    ],
)
def test_a_full_queue_passes_to_the_client(
    start_gateway: StartGateway, tiny: dict[str, Any], settings: dict[str, Any]
) -> None:
    with Peer(answer(429, FULL, "retry-after: 7")) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint], tiny=tiny, waker=_NoWaker(), **settings)
        response = gateway.generate()
    assert (response.status_code, response.json(), response.headers["retry-after"]) == (429, FULL, "7")


def test_a_replica_without_room_is_passed_over(start_gateway: StartGateway) -> None:
    with Peer(answer(429, FULL, "retry-after: 7")) as full, Peer(answer(200, IMAGES)) as peer:
        gateway = start_gateway(endpoints=[full.endpoint, peer.endpoint])
        assert [gateway.generate().status_code for _ in range(4)] == [200] * 4
        assert len(peer.requests) == 4


@pytest.mark.parametrize(
    ("status", "runtime_headers", "should_retry"),
    [
        (400, [], None),
        (429, ["retry-after: 7"], None),
        (503, ["retry-after: 7"], None),
        (500, [], "false"),
        (503, ["x-should-retry: true"], "true"),
    ],
)
def test_errors_of_a_runtime_pass_as_they_are(
    start_gateway: StartGateway, status: int, runtime_headers: list[str], should_retry: str | None
) -> None:
    with Peer(answer(status, ENVELOPE, *runtime_headers, "set-cookie: a=b")) as peer:
        response = start_gateway(endpoints=[peer.endpoint]).generate()
    assert (response.status_code, response.json()) == (status, ENVELOPE)
    assert response.headers.get("retry-after") == ("7" if "retry-after: 7" in runtime_headers else None)
    assert response.headers.get("x-should-retry") == should_retry
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [
        (answer(500, b"<h1>Internal error at 0x7f00</h1>", content_type="text/html"), 500),
        (answer(404, {"detail": "Not Found"}), 404),
        (answer(422, {"error": "text"}), 422),
        (answer(599, b""), 599),
        (answer(400, {"error": {"message": "x" * 100_000, "type": "", "param": None, "code": None}}), 400),
        (answer(302, b"", "location: http://169.254.169.254/"), 502),
        (answer(700, ENVELOPE), 502),
        (answer(500, b"[" * 60_000), 500),
    ],
    ids=["html", "fastapi", "text", "odd status", "too long", "redirect", "no such class", "too deep"],
)
def test_errors_without_an_envelope_get_one(start_gateway: StartGateway, behaviour: Behaviour, status: int) -> None:
    with Peer(behaviour) as peer:
        response = start_gateway(endpoints=[peer.endpoint]).generate()
    assert (response.status_code, error_of(response)["code"]) == (status, "upstream_error")
    assert "0x7f00" not in response.text
    assert len(response.content) < 1000
    assert "location" not in response.headers
    assert response.headers.get("x-should-retry") == ("false" if status >= 500 else None)


def test_proxies_of_the_environment_are_not_used(start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    with Peer(answer(200, IMAGES)) as peer, Peer(answer(200, {"from": "proxy"})) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.endpoint.url)
        assert start_gateway(endpoints=[peer.endpoint]).generate().json() == IMAGES
    assert proxy.requests == []
