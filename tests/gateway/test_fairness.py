"""Sharing between keys: who waits how long, and who gives way where no more can wait."""

import asyncio
import hashlib
import json
import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from cluster.waiting import eventually
from gateway.answers import PICTURE, entry, images
from gateway.peers import Peer
from gateway.running import StartGateway
from gateway.stages import ONE, TWO, Stage, play, settle
from heliograph_api.errors import APIError

if TYPE_CHECKING:
    from heliograph_gateway.waiting import Turn


async def serve_all(stage: Stage, asking: "dict[asyncio.Task[Turn], str]", turn: "Turn") -> list[str]:
    """Let the one place of a replica go from request to request; return whose they were, in order."""
    order = []
    while asking:
        turn.release()
        done, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        assert len(done) == 1, "there is one place"
        first = done.pop()
        order.append(asking.pop(first))
        turn = first.result()
    return order


def test_a_key_with_500_requests_holds_up_nobody() -> None:
    async def scene() -> None:
        stage = Stage(max_at_replica=1, max_held_per_model=1000)
        stage.set_endpoints(ONE)
        turn = await stage.ask(owner="many")
        asking = {stage.ask(owner="many"): "many" for _ in range(500)}
        await settle()
        asking |= {stage.ask(owner=f"small-{number}"): f"small-{number}" for number in range(5)}
        await settle()
        order = await serve_all(stage, asking, turn)
        assert max(order.index(f"small-{number}") for number in range(5)) <= 6
        assert Counter(order)["many"] == 500

    play(scene)


def test_owners_take_turns_when_a_cold_model_gets_going() -> None:
    async def scene() -> None:
        stage = Stage(max_at_replica=1)
        asking = {stage.ask(owner="many"): "many" for _ in range(20)}
        await settle()
        asking |= {stage.ask(owner=owner): owner for owner in ("small", "smaller")}
        await settle()
        stage.set_model(replicas=1)
        stage.set_endpoints(ONE)
        done, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        (first,) = done
        order = [asking.pop(first), *await serve_all(stage, asking, first.result())]
        assert order[:3] == ["many", "small", "smaller"]

    play(scene)


@pytest.mark.parametrize("settings", [{"max_held_per_model": 10}, {"max_held": 10}, {"max_held_bytes": 100}])
def test_who_has_most_gives_way_to_who_has_less(settings: dict[str, Any]) -> None:
    async def scene() -> None:
        stage = Stage(max_at_replica=1, **settings)
        stage.set_endpoints(ONE)
        turn = await stage.ask(owner="many")
        many = [stage.ask(owner="many", size=10) for _ in range(10)]
        await settle()
        small = stage.ask(owner="small", size=10)
        await settle()
        assert [task.done() for task in many] == [False] * 9 + [True], "the one that came last"
        error = many[-1].exception()
        assert isinstance(error, APIError)
        assert (error.status, error.code, error.headers) == (429, "queue_full", {"Retry-After": "10"})
        with pytest.raises(APIError) as caught:
            await stage.ask(owner="many", size=10)
        assert caught.value.status == 429
        turn.release()
        turn = await many[0]
        turn.release()
        await small
        for task in many:
            task.cancel()

    play(scene)


def test_a_model_that_is_waited_for_by_many_shuts_out_no_other_model() -> None:
    async def scene() -> None:
        stage = Stage(max_held=10)
        stage.set_model(name="other")
        asking = [stage.ask() for _ in range(10)]
        await settle()
        other = stage.ask(name="other")
        await settle()
        assert (stage.held(), stage.held("other")) == (9, 1)
        for task in (*asking, other):
            task.cancel()
        await asyncio.gather(*asking, other, return_exceptions=True)

    play(scene)


def test_an_owner_comes_back_to_the_same_replica_among_equals() -> None:
    async def scene() -> None:
        stage = Stage()
        stage.set_endpoints(ONE, TWO)
        found: dict[str, set[str]] = {}
        for owner in ("a", "b", "c", "d", "e", "f", "g", "h"):
            for _ in range(4):
                turn = await stage.ask(owner=owner)
                found.setdefault(owner, set()).add(turn.endpoint.host)
                turn.release()
        assert all(len(hosts) == 1 for hosts in found.values())
        assert set.union(*found.values()) == {ONE.host, TWO.host}
        turns = [await stage.ask(owner="a") for _ in range(10)]
        assert Counter(turn.endpoint for turn in turns) == {ONE: 5, TWO: 5}, "the fewest requests count first"

    play(scene)


def key(name: str, **more: object) -> dict[str, object]:
    return {"name": name, "sha256": hashlib.sha256(f"key-{name}".encode()).hexdigest(), **more}


class _InOrder:
    """Draws one at a time when told, and remembers the prompts."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def __call__(self, connection: socket.socket) -> None:
        assert self.go.wait(30)
        images(entry(PICTURE))(connection)


def test_keys_share_a_busy_model(start_gateway: StartGateway, tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(json.dumps({"keys": [key("many"), key("small"), key("admin", scopes=["admin"])]}))
    one = _InOrder()
    with Peer(one) as peer, ThreadPoolExecutor(22) as pool:
        gateway = start_gateway(
            endpoints=[peer.endpoint], tiny={"serving": {"limits": {"maxConcurrent": 1}}}, keys_file=file
        )

        def ask(name: str) -> httpx.Response:
            body = {"model": "tiny", "prompt": name}
            headers = {"authorization": f"Bearer key-{name}"}
            return gateway.client.post("/v1/images/generations", json=body, headers=headers)

        def waiting() -> dict[str, int]:
            told = gateway.client.get("/v1/admin/models", headers={"authorization": "Bearer key-admin"}).json()
            found: dict[str, int] = told["data"][0]["queue"]
            return found

        answers = [pool.submit(ask, "many") for _ in range(20)]
        eventually(lambda: waiting() == {"many": 19}, what="many")
        answers += [pool.submit(ask, "small")]
        eventually(lambda: waiting() == {"many": 19, "small": 1}, what="small one")
        one.go.set()
        assert {future.result().status_code for future in answers} == {200}
    order = [json.loads(request.body)["prompt"] for request in peer.requests if request.line.startswith("POST")]
    assert order.index("small") <= 2
