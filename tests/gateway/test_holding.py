"""Requests that wait for a model: how long, how many, and for what."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway.stages import ONE, TWO, Stage, error_of, play, settle


def test_a_model_without_replicas_is_woken_and_waited_for() -> None:
    async def scene() -> None:
        stage = Stage()
        asking = [stage.ask() for _ in range(3)]
        await settle()
        assert stage.held() == 3
        assert stage.wakes.asked
        assert stage.wakes.asked[0]()
        stage.set_model(replicas=1)
        await settle()
        asked = len(stage.wakes.asked)
        stage.set_model(replicas=1, not_ready="0 of 1 replicas answer requests so far.")
        await settle()
        assert (stage.held(), len(stage.wakes.asked)) == (3, asked), "it is awake"
        stage.set_endpoints(ONE)
        assert [(await task).endpoint for task in asking] == [ONE] * 3
        assert (stage.held(), stage.wakes.asked[0]()) == (0, False)
        assert (await stage.ask()).route.replicas == 1
        assert len(stage.wakes.asked) == asked

    play(scene)


def test_it_is_woken_again_when_it_falls_asleep_before_it_is_ready() -> None:
    async def scene() -> None:
        stage = Stage()
        stage.set_model(replicas=1)
        asking = stage.ask()
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
        stage = Stage()
        stage.set_model(replicas=1)
        stage.set_endpoints(ONE, TWO)
        request = stage.request()
        request.tried = {ONE}
        assert (await stage.turn(request)).endpoint == TWO
        request.tried = {ONE, TWO}
        asking = asyncio.create_task(stage.turn(request))
        await settle()
        assert (stage.held(), request.tried) == (1, {ONE, TWO})
        stage.set_endpoints(TWO)
        assert (await asking).endpoint == TWO
        assert request.tried == set()

    play(scene)


def test_replicas_that_could_not_be_connected_to_are_tried_again_after_a_while() -> None:
    async def scene() -> None:
        stage = Stage()
        stage.set_model(replicas=1)
        stage.set_endpoints(ONE)
        request = stage.request()
        request.tried = {ONE}
        assert (await stage.turn(request)).endpoint == ONE

    play(scene)


def test_who_cannot_be_connected_with_holds_up_nobody_else() -> None:
    async def scene() -> None:
        stage = Stage()
        stage.set_endpoints(ONE)
        unlucky = stage.request()
        unlucky.tried = {ONE}
        asking = asyncio.create_task(stage.turn(unlucky))
        await settle()
        assert (await asyncio.wait_for(stage.ask(), 0.5)).endpoint == ONE
        assert not asking.done()
        asking.cancel()

    play(scene)


def test_a_line_that_changes_as_its_last_request_leaves_is_looked_after_no_longer() -> None:
    async def scene() -> None:
        stage = Stage()
        asking = stage.ask()
        await settle()
        (keeper,) = (task for task in asyncio.all_tasks() if task.get_name().startswith("hold "))
        stage.set_model(replicas=1)
        keeper.cancel()
        await asyncio.wait((keeper,))
        assert keeper.cancelled()
        asking.cancel()

    play(scene)


def test_replicas_that_were_lost_are_waited_for_and_wake_nothing() -> None:
    async def scene() -> None:
        stage = Stage()
        stage.set_model(replicas=1, scaling=None)
        asking = stage.ask()
        await settle()
        assert stage.held() == 1
        stage.set_endpoints(ONE)
        assert (await asking).endpoint == ONE
        assert stage.wakes.asked == []
        request = stage.request()
        request.tried = {ONE}
        assert (await stage.turn(request)).endpoint == ONE, "a replica that could not be connected to is tried again"

    play(scene)


@pytest.mark.parametrize("reason", [None, "ScaledToZero"])
def test_replicas_that_a_person_takes_away_are_waited_for_no_longer(reason: str | None) -> None:
    async def scene() -> None:
        stage = Stage()
        stage.set_model(replicas=1, scaling=None)
        asking = stage.ask()
        await settle()
        stage.set_model(replicas=0, scaling=None, reason=reason)
        error = await error_of(asking)
        assert (error.status, error.code) == (503, "model_not_ready")

    play(scene)


def test_a_client_that_leaves_gives_its_place_away() -> None:
    async def scene() -> None:
        stage = Stage(max_held=1)
        asking = stage.ask()
        await settle()
        asking.cancel()
        await settle()
        assert (stage.held(), stage.wakes.asked[0]()) == (0, False)
        asking = stage.ask()
        await settle()
        assert stage.held() == 1
        asking.cancel()

    play(scene)


def test_a_turn_that_comes_as_its_client_leaves_goes_to_the_next() -> None:
    async def scene() -> None:
        stage = Stage(max_at_replica=1)
        stage.set_endpoints(ONE)
        at_work = await stage.ask()
        leaving, staying = stage.ask(), stage.ask()
        await settle()
        at_work.release()
        leaving.cancel()  # it has its turn by now, and does not know it
        assert (await staying).endpoint == ONE
        assert leaving.cancelled()
        assert [count for _, count in stage.table.outstanding()] == [1]

    play(scene)


def test_when_the_time_is_up_the_reason_is_told() -> None:
    async def scene() -> None:
        stage = Stage(hold_seconds=0.05)
        stage.set_model(not_ready="0 of 1 replicas answer requests so far.")
        error = await error_of(stage.ask())
        assert (error.status, error.code, error.headers) == (503, "model_not_ready", {"Retry-After": "10"})
        assert error.message == ("The model 'tiny' is not ready after 0.05 s: 0 of 1 replicas answer requests so far.")
        assert stage.held() == 0

    play(scene)


def test_a_reason_that_does_not_heal_ends_the_wait_at_once() -> None:
    async def scene() -> None:
        stage = Stage()
        asking = [stage.ask() for _ in range(3)]
        await settle()
        stage.set_model(replicas=1, reason="NoGpuFree", not_ready="No node has a GPU free.")
        await settle()
        assert stage.held() == 3, "a GPU may get free"
        stage.set_model(replicas=1, reason="UnsafeWeights", not_ready="a.ckpt is a pickle.")
        for task in (*asking, stage.ask()):
            error = await error_of(task)
            assert (error.status, error.code) == (503, "model_not_ready")
            assert error.message == "The model 'tiny' is not ready: a.ckpt is a pickle."
            assert error.headers == {"Retry-After": "10"}
        stage.set_endpoints(ONE)
        assert (await stage.ask()).endpoint == ONE, "what serves serves, whatever is told"

    play(scene)


@pytest.mark.parametrize(
    ("settings", "spec", "held"),
    [
        ({"max_held": 2}, {}, 2),
        ({"max_held_per_model": 3}, {}, 3),
        ({"max_held_per_model": 3}, {"maxQueued": 5}, 5),
        ({"max_held_bytes": 100}, {}, 1),
    ],
)
def test_no_more_is_held_than_allowed(settings: dict[str, Any], spec: dict[str, Any], held: int) -> None:
    async def scene() -> None:
        stage = Stage(**settings)
        stage.set_model(limits={"retryAfterSeconds": 7} | spec, not_ready="Its weights are on their way.")
        asking = [stage.ask(size=60) for _ in range(held)]
        await settle()
        error = await error_of(stage.ask(size=60))
        assert (error.status, error.code, error.headers) == (429, "queue_full", {"Retry-After": "7"})
        assert "Its weights are on their way" in error.message
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
        (lambda stage: stage.set_model(scaling=None), 503),
    ],
    ids=["deleted", "disabled", "not scaled any more"],
)
@pytest.mark.parametrize("endpoints", [(), (ONE,)], ids=["cold", "busy"])
def test_a_model_that_changes_while_it_is_waited_for(
    change: Callable[[Stage], None], status: int, endpoints: tuple[Any, ...]
) -> None:
    async def scene() -> None:
        stage = Stage(max_at_replica=1)
        stage.set_endpoints(*endpoints)
        for _ in endpoints:
            await stage.ask()
        asking = stage.ask()
        await settle()
        change(stage)
        if endpoints and status == 503:
            await settle()
            assert not asking.done(), "there is a replica, and there will be room"
            stage.set_endpoints()
        assert (await error_of(asking)).status == status
        assert stage.held() == 0

    play(scene)


def test_nobody_waits_for_a_replica_that_only_a_person_starts() -> None:
    async def scene() -> None:
        stage = Stage()
        stage.set_model(scaling=None)
        error = await error_of(stage.ask())
        assert (error.status, stage.wakes.asked) == (503, [])
        assert "without spec.serving.scaling no request wakes it" in error.message

    play(scene)


def test_nothing_is_woken_where_there_is_nothing_to_wake_it() -> None:
    async def scene() -> None:
        stage = Stage(is_served=True, max_at_replica=1)
        starting = stage.ask()
        await settle()
        assert stage.held() == 1, "heliograph serve starts every model by itself"
        stage.set_endpoints(ONE)
        at_work = await starting
        asking = stage.ask()
        await settle()
        assert stage.held() == 1, "room at a replica is waited for anywhere"
        at_work.release()
        assert (await asking).endpoint == ONE

    play(scene)


def test_a_request_says_how_it_waits() -> None:
    async def scene() -> None:
        stage = Stage(max_at_replica=1)
        stage.set_endpoints(ONE)
        turn = await stage.ask()
        first, second = stage.request(), stage.request()
        asking = [asyncio.create_task(stage.turn(request)) for request in (first, second)]
        await settle()
        assert (look := second.wait.look()) is not None
        assert (look[1], second.wait.begun.is_set()) == (2, True)
        assert stage.hold.waiting(stage.table.resolve("tiny")) == {"": 2}
        await asyncio.sleep(0.05)
        turn.release()
        await asking[0]
        assert (first.wait.look(), first.wait.seconds >= 0.05) == (None, True)
        assert (look := second.wait.look()) is not None
        assert look[1] == 1
        asking[1].cancel()

    play(scene)


def test_a_model_is_prewarmed_once_and_stays_as_long_as_after_a_request() -> None:
    async def scene() -> None:
        stage = Stage()
        route = stage.table.resolve("tiny")
        assert not stage.table.is_ready(await stage.hold.prewarm(route))
        assert stage.wakes.asked[0](), "nobody waits, and it is wanted all the same"
        assert stage.loads.report().models["default/tiny"].idle_seconds < 1
        warming = [asyncio.create_task(stage.hold.prewarm(route, wait=30)) for _ in range(2)]
        await settle()
        stage.set_model(replicas=1)
        stage.set_endpoints(ONE)
        assert [(await task).replicas for task in warming] == [1, 1]
        assert not stage.wakes.asked[0]()
        asked = len(stage.wakes.asked)
        await stage.hold.prewarm(route)
        assert len(stage.wakes.asked) == asked

    play(scene)


@pytest.mark.parametrize("spec", [{"reason": "ImagePullFailed", "replicas": 1}, {"scaling": None}])
def test_what_cannot_be_prewarmed_is_not_waited_for(spec: dict[str, Any]) -> None:
    async def scene() -> None:
        stage = Stage()
        stage.set_model(**spec)
        await asyncio.wait_for(stage.hold.prewarm(stage.table.resolve("tiny"), wait=60), 5)
        assert stage.wakes.asked == []

    play(scene)


def test_a_hold_that_is_closed_looks_after_nobody() -> None:
    async def scene() -> None:
        stage = Stage()
        before = asyncio.all_tasks()
        asking = stage.ask()
        await settle()
        await stage.hold.aclose()
        asking.cancel()
        await settle()
        assert asyncio.all_tasks() == before

    play(scene)
