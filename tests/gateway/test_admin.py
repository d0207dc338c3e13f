"""What administrators see: every model with its replicas, its queue and its GPUs."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from cluster.waiting import eventually
from gateway.answers import check_error
from gateway.manifests import image_model
from gateway.peers import Behaviour, Peer, answer, hold, refusing_endpoint
from gateway.running import Gateway, StartGateway
from heliograph_gateway.models.observed import Observed
from heliograph_gateway.routing import Endpoint
from runtime.scripted_runtime import scripted_runtime
from runtime.scripted_worker import SLOW

UNTOLD = {"busy": None, "requests": None, "queue": None, "gpu": None}
GPU = {"name": "NVIDIA H100 80GB HBM3", "count": 1, "memory_used": 21_474_836_480, "memory_total": 85_520_809_984}
STATUS = {"ready": True, "busy": True, "requests": 3, "queue": 2, "gpu": GPU}
ALICE, ROOT = "alice-key", "root-key"


@pytest.fixture
def peer() -> Iterator[Callable[[Behaviour], Peer]]:
    with ExitStack() as started:
        yield lambda behaviour: started.enter_context(Peer(behaviour))


def survey(gateway: Gateway, **options: Any) -> dict[str, Any]:
    response = gateway.client.get("/v1/admin/models", **options)
    assert response.status_code == 200, response.text
    assert response.json()["object"] == "list"
    return {f"{model['namespace']}/{model['name']}": model for model in response.json()["data"]}


def test_every_model_is_told_of_with_its_state(start_gateway: StartGateway) -> None:
    gateway = start_gateway(tiny={"name": "Tiny", "serving": {"replicas": 0, "scaling": {"min": 0}, "aliases": ["t"]}})
    gateway.routes.set_model(image_model("off", disabled=True))
    gateway.routes.set_model(
        image_model("broken", "art"), observed=Observed("CorruptWeights", failed=True), not_ready="Cut short."
    )
    gateway.routes.set_model(image_model("other", "art", alias="broken"))

    found = survey(gateway)

    assert list(found) == ["art/broken", "default/off", "default/tiny"], "an alias is no model"
    assert {name: model["state"] for name, model in found.items()} == {
        "art/broken": "failed", "default/off": "disabled", "default/tiny": "cold",
    }  # fmt: skip
    assert (found["art/broken"]["reason"], found["art/broken"]["message"]) == ("CorruptWeights", "Cut short.")
    tiny = found["default/tiny"]
    assert (tiny["id"], tiny["aliases"], tiny["scaled"], tiny["wanted"]) == ("Tiny", ["t"], True, 0)
    assert (tiny["replicas"], tiny["held"], tiny["queue"]) == ([], 0, {})


def test_replicas_tell_of_their_queue_and_their_gpus(
    start_gateway: StartGateway, peer: Callable[[Behaviour], Peer]
) -> None:
    first, second = peer(answer(200, STATUS)), peer(answer(200, {**STATUS, "busy": False, "gpu": None}))
    gateway = start_gateway(endpoints=[first.endpoint, second.endpoint])

    one, other = survey(gateway)["default/tiny"]["replicas"]

    assert one == {
        "address": f"127.0.0.1:{first.endpoint.port}", "ready": True, "outstanding": 0,
        "busy": True, "requests": 3, "queue": 2, "gpu": GPU,
    }  # fmt: skip
    assert (other["busy"], other["gpu"]) == (False, None)
    assert [request.line for request in first.requests] == ["GET /status HTTP/1.1"]


def test_a_real_replica_at_work_and_the_requests_of_each_key_that_wait(
    start_gateway: StartGateway, tmp_path: Path
) -> None:
    keys = [
        {"name": name, "sha256": hashlib.sha256(key.encode()).hexdigest(), "scopes": scopes}
        for name, key, scopes in (("alice", ALICE, ["models"]), ("root", ROOT, ["models", "admin"]))
    ]
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": keys}))
    as_root = {"headers": {"api-key": ROOT}}
    with scripted_runtime() as runtime:
        url = httpx.URL(runtime.url)
        gateway = start_gateway(
            endpoints=[Endpoint(url.host, url.port or 0)],
            max_at_replica=1,
            keys_file=file,
        )
        check_error(gateway.client.get("/v1/admin/models", headers={"api-key": ALICE}), 403, "insufficient_scope")
        check_error(gateway.client.get("/v1/admin/models"), 401, "invalid_api_key")
        check_error(gateway.client.post("/v1/models/tiny/load", headers={"api-key": ALICE}), 403, "insufficient_scope")
        body = {"model": "tiny", "prompt": f"{SLOW} circle", "steps": 150, "seed": 1}
        asking = [
            threading.Thread(
                target=lambda key=key: gateway.client.post(
                    "/v1/images/generations", json=body, headers={"api-key": key}
                )
            )
            for key in (ALICE, ALICE, ALICE, ROOT)
        ]
        for thread in asking:
            thread.start()

        def seen() -> dict[str, Any] | None:
            found: dict[str, Any] = survey(gateway, **as_root)["default/tiny"]
            return found if found["held"] == 3 and found["replicas"][0]["busy"] else None

        found = eventually(seen, what="one request at work and three that wait")
        assert sum(found["queue"].values()) == 3
        assert found["queue"].keys() <= {"alice", "root"}
        (replica,) = found["replicas"]
        assert (replica["outstanding"], replica["requests"], replica["queue"]) == (1, 1, 0)
        assert replica["gpu"] == {
            "name": "Scripted GPU", "count": 1, "memory_used": 3 * 2**30, "memory_total": 16 * 2**30,
        }  # fmt: skip
        for thread in asking:
            thread.join(60)
        eventually(lambda: not survey(gateway, **as_root)["default/tiny"]["held"], what="an empty queue")


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b'{"ready":true}', b"x" * 10_000_000,
        json.dumps({**STATUS, "queue": -1}).encode(),
        json.dumps({**STATUS, "queue": "2"}).encode(),
        json.dumps({**STATUS, "gpu": {**GPU, "name": "a\nb"}}).encode(),
        json.dumps({**STATUS, "gpu": {**GPU, "name": "a" * 5000}}).encode(),
    ],
)  # fmt: skip
def test_a_replica_that_answers_with_something_else_is_shown_without(
    start_gateway: StartGateway, peer: Callable[[Behaviour], Peer], body: bytes
) -> None:
    gateway = start_gateway(endpoints=[peer(answer(200, body)).endpoint])
    (replica,) = survey(gateway)["default/tiny"]["replicas"]
    assert {name: replica[name] for name in UNTOLD} == UNTOLD
    assert replica["ready"]


def test_replicas_that_hang_or_are_gone_keep_nobody_waiting(
    start_gateway: StartGateway, peer: Callable[[Behaviour], Peer]
) -> None:
    left = threading.Event()
    hanging = [peer(hold(left)) for _ in range(12)]
    with refusing_endpoint() as gone:
        answering = peer(answer(200, STATUS))
        gateway = start_gateway(endpoints=[*(each.endpoint for each in hanging), gone, answering.endpoint])
        replicas = survey(gateway, timeout=10)["default/tiny"]["replicas"]

    told = {replica["address"]: replica["queue"] for replica in replicas}
    assert told.pop(f"127.0.0.1:{answering.endpoint.port}") == 2
    assert set(told.values()) == {None}
    assert len(told) == 13
    assert left.wait(10), "connections to replicas that hang are given up"
