"""What clients that get events hear while their requests are held, and how that ends."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from cluster.waiting import eventually
from gateway.answers import PICTURE, b64, entry, events, images
from gateway.manifests import image_model
from gateway.peers import Behaviour, Peer, answer
from gateway.running import Gateway, StartGateway
from heliograph_gateway.models.observed import Observed
from heliograph_gateway.names import Route

COLD = {"serving": {"scaling": {"min": 0}}}
BUSY = {"serving": {"limits": {"maxConcurrent": 1}}}
DONE = {"type": "image_generation.completed", "b64_json": b64(PICTURE)}
DRAWN = b"event: image_generation.completed\ndata: " + json.dumps(DONE).encode() + b"\n\n"


class _NoWaker:
    """Wakes nothing: the tests put replicas there."""

    def wake(self, route: Route, *, is_wanted: Callable[[], bool], on_woken: Callable[[Route], None]) -> None: ...

    async def aclose(self) -> None: ...


@contextmanager
def streamed(gateway: Gateway, **fields: Any) -> Iterator[httpx.Response]:
    body = {"model": "tiny", "prompt": "a circle", "stream": True, **fields}
    with gateway.client.stream("POST", "/v1/images/generations", json=body) as response:
        yield response


def tell(gateway: Gateway, *, message: str, **observed: Any) -> None:
    """Have the operator tell of the model."""
    spec = {"serving": {**COLD["serving"], "replicas": 1}}
    gateway.routes.set_model(image_model("tiny", **spec), not_ready=message, observed=Observed(**observed))


def words(comment: str) -> dict[str, str]:
    assert comment.startswith(": heliograph "), comment
    return dict(word.split("=", 1) for word in comment.removeprefix(": heliograph ").split())


def test_a_cold_model_is_told_of_until_it_draws(start_gateway: StartGateway) -> None:
    with Peer(events([DRAWN])) as peer:
        gateway = start_gateway(tiny=COLD, waker=_NoWaker())
        with streamed(gateway) as response:
            assert (response.status_code, response.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
            lines = (line for line in response.iter_lines() if line)
            first = words(next(lines))
            assert (first["state"], first["waited"], first["position"]) == ("loading", "0s", "1")
            tell(gateway, message="The weights are being fetched.", reason="Fetching", progress=0.4)
            second = words(next(lines))
            assert (second["reason"], second["progress"], second["waited"]) == ("Fetching", "0.40", "1s")
            gateway.set_endpoints(peer.endpoint)
            rest = "\n".join(line for line in lines if not line.startswith(":"))
    assert rest == DRAWN.decode().strip()
    gateway.expect_metric(0, "heliograph_gateway_held_requests", model="tiny")


def test_openais_client_sees_the_events_alone(start_gateway: StartGateway) -> None:
    with Peer(events([DRAWN])) as peer:
        gateway = start_gateway(tiny=COLD, waker=_NoWaker())
        threading.Timer(1.5, lambda: gateway.set_endpoints(peer.endpoint)).start()
        with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
            stream = client.images.generate(model="tiny", prompt="a circle", stream=True)
            found = [event.type for event in stream]
    assert found == ["image_generation.completed"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({}, ["event: error", "data: "], id="OpenAI's"),
        pytest.param({"stream_format": "image.chunk"}, ["event: error", "error: ", "data: "], id="GPUStack's"),
    ],
)
def test_a_model_that_cannot_start_ends_the_stream_with_the_reason(
    start_gateway: StartGateway, fields: dict[str, Any], expected: list[str]
) -> None:
    gateway = start_gateway(tiny=COLD, waker=_NoWaker())
    with streamed(gateway, **fields) as response:
        lines = (line for line in response.iter_lines() if line)
        assert words(next(lines))["state"] == "loading"
        tell(gateway, message="a.ckpt is a pickle: use safetensors.", reason="UnsafeWeights", failed=True)
        rest = [line for line in lines if not line.startswith(":")]
    assert [line[: len(start)] for line, start in zip(rest, expected, strict=True)] == expected
    error = json.loads(rest[-1].removeprefix("data: "))["error"]
    assert error["code"] == "model_not_ready"
    assert error["message"] == "The model 'tiny' is not ready: a.ckpt is a pickle: use safetensors."


def test_the_same_without_events_has_a_status(start_gateway: StartGateway) -> None:
    gateway = start_gateway(tiny=COLD, waker=_NoWaker())
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(gateway.generate)
        gateway.expect_metric(1, "heliograph_gateway_held_requests", model="tiny")
        tell(gateway, message="The image cannot be pulled.", reason="ImagePullFailed", failed=True)
        response = asking.result()
    assert (response.status_code, response.json()["error"]["code"]) == (503, "model_not_ready")
    assert "The image cannot be pulled." in response.json()["error"]["message"]
    assert 1 <= int(response.headers["retry-after"]) <= 120


def test_openais_client_raises_the_reason(start_gateway: StartGateway) -> None:
    gateway = start_gateway(tiny=COLD, waker=_NoWaker(), hold_seconds=1.2)
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        stream = client.images.generate(model="tiny", prompt="a circle", stream=True)
        with pytest.raises(openai.APIError, match=r"is not ready after 1\.2 s"):
            list(stream)


class _OneAtATime:
    """Draws when told; what comes meanwhile waits in the gateway."""

    def __init__(self, then: Behaviour) -> None:
        self.go = threading.Event()
        self._then = then

    def __call__(self, connection: Any) -> None:
        assert self.go.wait(30)
        self._then(connection)


def test_a_queued_stream_is_told_its_place(start_gateway: StartGateway) -> None:
    one = _OneAtATime(events([DRAWN]))
    with Peer(one) as peer, ThreadPoolExecutor(2) as pool:
        gateway = start_gateway(endpoints=[peer.endpoint], tiny=BUSY)
        asking = [pool.submit(gateway.generate) for _ in range(2)]
        gateway.expect_metric(1, "heliograph_gateway_held_requests", model="tiny")
        with streamed(gateway) as response:
            lines = (line for line in response.iter_lines() if line)
            told = words(next(lines))
            assert (told["state"], told["position"]) == ("queued", "2")
            assert "reason" not in told
            one.go.set()
            assert list(lines)[-1] == DRAWN.decode().strip().splitlines()[-1]
        assert [future.result().status_code for future in asking] == [200, 200]


def test_what_is_refused_before_anything_is_told_has_a_status(start_gateway: StartGateway) -> None:
    one = _OneAtATime(images(entry(PICTURE)))
    with Peer(one) as peer, ThreadPoolExecutor(1) as pool:
        gateway = start_gateway(endpoints=[peer.endpoint], tiny=BUSY, hold_seconds=0.3)
        asking = pool.submit(gateway.generate)
        eventually(lambda: peer.requests, what="request at work")
        with streamed(gateway) as response:
            assert response.status_code == 429
            assert 1 <= int(response.headers["retry-after"]) <= 120
        one.go.set()
        assert asking.result().status_code == 200


def test_a_client_that_leaves_while_it_is_told_gives_up_its_place(start_gateway: StartGateway) -> None:
    gateway = start_gateway(tiny=COLD, waker=_NoWaker())
    with streamed(gateway) as response:
        parts = response.iter_raw()  # when it is let go of, httpx closes the connection
        next(parts)
        gateway.expect_metric(1, "heliograph_gateway_held_requests", model="tiny")
    gateway.expect_metric(0, "heliograph_gateway_held_requests", model="tiny")


def test_an_error_of_the_replica_after_the_wait_is_an_event(start_gateway: StartGateway) -> None:
    envelope = {"error": {"message": "Too large.", "type": "invalid_request_error", "param": "size", "code": "x"}}
    with Peer(answer(400, envelope)) as peer:
        gateway = start_gateway(tiny=COLD, waker=_NoWaker())
        with streamed(gateway) as response:
            lines = (line for line in response.iter_lines() if line)
            next(lines)
            gateway.set_endpoints(peer.endpoint)
            rest = [line for line in lines if not line.startswith(":")]
    assert json.loads(rest[-1].removeprefix("data: ")) == {"type": "error", "error": envelope["error"]}


def test_a_stream_that_was_only_told_to_wait_uses_up_no_quota(start_gateway: StartGateway, tmp_path: Path) -> None:
    keys = [{"name": "team", "sha256": hashlib.sha256(b"key").hexdigest(), "imagesPerDay": 1}]
    (tmp_path / "keys.yaml").write_text(json.dumps({"keys": keys}))
    with Peer(images(entry(PICTURE))) as peer:
        gateway = start_gateway(tiny=COLD, waker=_NoWaker(), keys_file=tmp_path / "keys.yaml", hold_seconds=1.2)
        gateway.client.headers["api-key"] = "key"
        for _ in range(2):
            with streamed(gateway) as response:
                told = response.read().decode()
            assert response.status_code == 200
            assert ": heliograph state=loading" in told
            assert "model_not_ready" in told
        gateway.set_endpoints(peer.endpoint)
        assert [gateway.generate().status_code for _ in range(2)] == [200, 429]
