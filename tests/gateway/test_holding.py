"""Requests that wait for a model: how long, how many, and for what."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.manifests import image_model
from heliograph_api.errors import APIError
from heliograph_api.naming import child_name
from heliograph_gateway.health import Health
from heliograph_gateway.holding import Hold
from heliograph_gateway.load import Loads
from heliograph_gateway.metrics import Metrics
from heliograph_gateway.names import Route
from heliograph_gateway.routing import Endpoint, RoutingTable
from heliograph_gateway.settings import GatewaySettings

ONE, TWO = Endpoint("10.0.0.1", 8080), Endpoint("10.0.0.2", 8080)
REFUSAL = APIError(429, "This model already has 64 requests.", code="queue_full", headers={"Retry-After": "5"})


@dataclass
class Wakes:
    """Stands in for what writes to the API server, and remembers.

    Attributes:
        asked: The models that were to be woken, by the question whether they still are.
    """

    asked: list[Callable[[], bool]] = field(default_factory=list)

    def wake(self, route: Route, *, is_wanted: Callable[[], bool], on_woken: Callable[[Route], None]) -> None:
        self.asked.append(is_wanted)
        on_woken(route)

    async def aclose(self) -> None: ...


class Scene:
    """A routing table with the model `tiny` and a hold before it."""

    def __init__(self, **settings: Any) -> None:
        self.table = RoutingTable()
        self.wakes = Wakes()
        self.loads = Loads()
        metrics = Metrics(self.table, Health(), self.loads)
        self.hold = Hold(self.table, GatewaySettings(**settings), metrics, loads=self.loads, waker=self.wakes)
        self.set_model()

    def set_model(self, *, replicas: int = 0, not_ready: str = "", scaling: Any = "", **spec: Any) -> None:
        serving = {"replicas": replicas, "scaling": {"min": 0} if scaling == "" else scaling}
        self.table.set_model(image_model("tiny", serving=serving, **spec), not_ready=not_ready)

    def set_endpoints(self, *endpoints: Endpoint) -> None:
        self.table.set_endpoints("default", child_name("tiny"), endpoints)

    def held(self) -> int:
        return self.loads.held(("default", "tiny"))

    async def ask(self, *, size: int = 0, tried: set[Endpoint] | None = None) -> Route:
        route = self.table.resolve("tiny")
        with self.loads.request(route):
            tried = set() if tried is None else tried
            return await self.hold.until_ready(route, tried, size=size, deadline=self.hold.deadline())

    async def ask_again(self, full: set[Endpoint], *, size: int = 0) -> None:
        """Ask for room after replicas had none."""
        route = self.table.resolve("tiny")
        with self.loads.request(route):
            await self.hold.until_room(route, full, refusal=REFUSAL, size=size, deadline=self.hold.deadline())

    async def ask_new(self) -> None:
        """Ask whether there are others before a new request."""
        route = self.table.resolve("tiny")
        with self.loads.request(route):
            await self.hold.behind_others(route, size=0, deadline=self.hold.deadline())

    def made_room(self) -> None:
        self.hold.made_room(self.table.resolve("tiny"))


async def settle() -> None:
    """Let whatever can go on go on."""
    for _ in range(10):
        await asyncio.sleep(0)


def play(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), 30))


def test_a_model_without_replicas_is_woken_and_waited_for() -> None:
    async def scene() -> None:
        stage = Scene()
        asking = [asyncio.create_task(stage.ask()) for _ in range(3)]
        await settle()
        assert (stage.held(), len(stage.wakes.asked)) == (3, 3)
        assert stage.wakes.asked[0]()
        stage.set_model(replicas=1)
        await settle()
        assert (stage.held(), len(stage.wakes.asked)) == (3, 3), "it is awake"
        stage.set_endpoints(ONE)
        assert [(await task).replicas for task in asking] == [1, 1, 1]
        assert (stage.held(), stage.wakes.asked[0]()) == (0, False)
        await stage.ask()
        assert len(stage.wakes.asked) == 3

    play(scene)


def test_it_is_woken_again_when_it_falls_asleep_before_it_is_ready() -> None:
    async def scene() -> None:
        stage = Scene()
        stage.set_model(replicas=1)
        asking = asyncio.create_task(stage.ask())
        await settle()
        assert stage.wakes.asked == []
        stage.set_model(replicas=0)
        await settle()
        assert len(stage.wakes.asked) == 1
        stage.set_endpoints(ONE)
        await asking

    play(scene)


def test_replicas_that_could_not_be_connected_to_are_tried_again_when_something_changes() -> None:
    async def scene() -> None:
        stage = Scene()
        stage.set_model(replicas=1)
        stage.set_endpoints(ONE, TWO)
        await stage.ask(tried={ONE})
        tried = {ONE, TWO}
        asking = asyncio.create_task(stage.ask(tried=tried))
        await settle()
        assert (stage.held(), tried) == (1, {ONE, TWO})
        stage.set_endpoints(TWO)
        await asking
        assert tried == set()

    play(scene)


def test_replicas_that_could_not_be_connected_to_are_tried_again_after_a_while() -> None:
    async def scene() -> None:
        stage = Scene()
        stage.set_endpoints(ONE)
        tried = {ONE}
        await stage.ask(tried=tried)
        assert tried == set()
        assert len(stage.wakes.asked) == 1, "there will be none for long"

    play(scene)


def test_a_client_that_leaves_gives_its_place_away() -> None:
    async def scene() -> None:
        stage = Scene(max_held=1)
        asking = asyncio.create_task(stage.ask())
        await settle()
        asking.cancel()
        await settle()
        assert (stage.held(), stage.wakes.asked[0]()) == (0, False)
        asking = asyncio.create_task(stage.ask())
        await settle()
        assert stage.held() == 1
        asking.cancel()

    play(scene)


def test_when_the_time_is_up_the_reason_is_told() -> None:
    async def scene() -> None:
        stage = Scene(hold_seconds=0.05)
        stage.set_model(not_ready="0 of 1 replicas answer requests so far.")
        with pytest.raises(APIError) as caught:
            await stage.ask()
        error = caught.value
        assert (error.status, error.code, error.headers) == (503, "model_not_ready", {"Retry-After": "10"})
        assert error.message == ("The model 'tiny' is not ready after 0.05 s: 0 of 1 replicas answer requests so far.")
        assert stage.held() == 0

    play(scene)


@pytest.mark.parametrize(
    ("settings", "held"), [({"max_held": 2}, 2), ({"max_held_per_model": 3}, 3), ({"max_held_bytes": 100}, 1)]
)
def test_no_more_is_held_than_allowed(settings: dict[str, Any], held: int) -> None:
    async def scene() -> None:
        stage = Scene(**settings)
        stage.set_model(limits={"retry_after_seconds": 7}, not_ready="Its weights are on their way.")
        asking = [asyncio.create_task(stage.ask(size=60)) for _ in range(held)]
        await settle()
        with pytest.raises(APIError, match="Its weights are on their way") as caught:
            await stage.ask(size=60)
        assert (caught.value.status, caught.value.code) == (429, "queue_full")
        assert caught.value.headers == {"Retry-After": "7"}
        assert stage.held() == held
        stage.set_endpoints(ONE)
        await asyncio.gather(*asking)
        await stage.ask(size=60)

    play(scene)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda stage: stage.table.remove_model("default", "tiny"), 404),
        (lambda stage: stage.set_model(disabled=True), 403),
    ],
)
def test_a_model_that_goes_while_it_is_waited_for(change: Callable[[Scene], None], status: int) -> None:
    async def scene() -> None:
        stage = Scene()
        asking = asyncio.create_task(stage.ask())
        await settle()
        change(stage)
        with pytest.raises(APIError) as caught:
            await asking
        assert caught.value.status == status

    play(scene)


def test_nobody_waits_for_a_model_that_only_a_person_starts() -> None:
    async def scene() -> None:
        stage = Scene()
        asking = asyncio.create_task(stage.ask())
        await settle()
        stage.set_model(scaling=None)
        route = await asking
        assert (await stage.ask()).scaling is None
        assert len(stage.wakes.asked) == 1
        with pytest.raises(APIError, match=r"has no replicas, and without spec\.serving\.scaling no request wakes it"):
            stage.table.pick(route).__enter__()

    play(scene)


def test_requests_without_room_are_sent_again_one_after_another() -> None:
    async def scene() -> None:
        stage = Scene()
        stage.set_endpoints(ONE)
        full = {ONE}
        asking = [asyncio.create_task(stage.ask_again(full if first else {ONE})) for first in (True, False, False)]
        await settle()
        assert stage.held() == 3
        stage.made_room()
        await settle()
        assert stage.held() == 3, "for a moment, other gateways may have it"
        await asking[0]
        assert [task.done() for task in asking] == [True, False, False]
        assert full == set(), "the same replica may be tried again"
        asking[1].cancel()
        await settle()
        stage.made_room()
        await asking[2]
        assert stage.held() == 0
        stage.made_room()

    play(scene)


def test_a_new_request_waits_behind_those_that_found_no_room() -> None:
    async def scene() -> None:
        stage = Scene(max_held_per_model=2)
        stage.set_endpoints(ONE)
        await stage.ask_new()
        first = asyncio.create_task(stage.ask_again({ONE}))
        await settle()
        second = asyncio.create_task(stage.ask_new())
        await settle()
        assert stage.held() == 2
        with pytest.raises(APIError, match="more requests than it can take") as caught:
            await stage.ask_new()
        assert (caught.value.status, caught.value.code) == (429, "queue_full")
        await first
        assert not second.done()
        stage.set_endpoints(ONE, TWO)
        await second

    play(scene)


def test_the_room_that_nobody_tells_of_is_looked_for() -> None:
    async def scene() -> None:
        stage = Scene()
        stage.set_endpoints(ONE)
        await stage.ask_again({ONE})

    play(scene)


def test_another_replica_ends_the_wait_for_room_and_the_end_of_all_does_too() -> None:
    async def scene() -> None:
        stage = Scene()
        stage.set_endpoints(ONE)
        first, second = {ONE}, {ONE, TWO}
        asking = [asyncio.create_task(stage.ask_again(full)) for full in (first, second)]
        await settle()
        stage.set_model(not_ready="A status changed.")
        await settle()
        assert stage.held() == 2
        stage.set_endpoints(ONE, TWO)
        await settle()
        assert [task.done() for task in asking] == [True, False]
        assert first == {ONE}
        stage.set_endpoints()
        await asking[1]
        assert second == set()

    play(scene)


@pytest.mark.parametrize(
    ("settings", "spec"),
    [
        pytest.param({"hold_seconds": 0.05}, {}, id="the time is up"),
        pytest.param({"max_held_bytes": 10}, {}, id="too much is held"),
        pytest.param({}, {"scaling": None}, id="nothing is held for it"),
    ],
)
def test_a_refusal_stands_where_a_request_cannot_be_held(settings: dict[str, Any], spec: dict[str, Any]) -> None:
    async def scene() -> None:
        stage = Scene(**settings)
        stage.set_model(**spec)
        stage.set_endpoints(ONE)
        with pytest.raises(APIError) as caught:
            await stage.ask_again({ONE}, size=60)
        assert caught.value is REFUSAL
        assert stage.held() == 0

    play(scene)


def test_a_model_that_goes_while_room_is_waited_for() -> None:
    async def scene() -> None:
        stage = Scene()
        stage.set_endpoints(ONE)
        asking = asyncio.create_task(stage.ask_again({ONE}))
        await settle()
        stage.table.remove_model("default", "tiny")
        with pytest.raises(APIError) as caught:
            await asking
        assert caught.value.status == 404

    play(scene)
