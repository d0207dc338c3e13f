"""Requests that wait for room at replicas that have as much to do as they may."""

import asyncio

from gateway.stages import ONE, REFUSAL, TWO, Stage, error_of, play, settle


def test_so_many_are_at_a_replica_as_are_allowed() -> None:
    async def scene() -> None:
        for limits, most in ((None, 3), ({"maxConcurrent": 2}, 2), ({"maxConcurrent": 0}, 3)):
            stage = Stage(max_at_replica=3)
            stage.set_model(limits=limits)
            stage.set_endpoints(ONE, TWO)
            turns = [await stage.ask() for _ in range(2 * most)]
            assert sorted(turn.endpoint.host for turn in turns) == [ONE.host] * most + [TWO.host] * most
            asking = [stage.ask() for _ in range(2)]
            await settle()
            assert stage.held() == 2
            turns[0].release()
            turns[0].release()
            await settle()
            assert [task.done() for task in asking] == [True, False]
            turns[1].release()
            await asking[1]

    play(scene)


def test_who_was_refused_by_a_replica_goes_to_another_or_waits() -> None:
    async def scene() -> None:
        stage = Stage()
        stage.set_endpoints(ONE, TWO)
        request = stage.request()
        with stage.loads.request(request.route):
            first = await stage.turn(request)
            stage.hold.refused(request, first, REFUSAL)
            first.release()
            second = await stage.turn(request)
            assert {first.endpoint, second.endpoint} == {ONE, TWO}
            stage.hold.refused(request, second, REFUSAL)
            second.release()
            asking = asyncio.create_task(stage.turn(request))
            await settle()
            assert stage.held() == 1
            assert (await asking).endpoint in {ONE, TWO}

    play(scene)


def test_who_was_refused_by_a_replica_keeps_its_turn() -> None:
    async def scene() -> None:
        stage = Stage()
        stage.set_endpoints(ONE)
        request = stage.request()
        with stage.loads.request(request.route):
            turn = await stage.turn(request)
            later = stage.ask(), stage.ask(owner="somebody")
            await asyncio.gather(*later)
            stage.hold.refused(request, turn, REFUSAL)
            still_later = stage.ask(), stage.ask(owner="somebody")
            await settle()
            turn.release()
            asking = asyncio.create_task(stage.turn(request))
            await settle()
            assert not any(task.done() for task in (asking, *still_later)), "as many as it took are there"
            later[0].result().release()
            assert (await asking).endpoint == ONE
            assert not any(task.done() for task in still_later)
            for task in still_later:
                task.cancel()

    play(scene)


def test_the_refusal_of_a_replica_stands_when_the_time_is_up() -> None:
    async def scene() -> None:
        stage = Stage(hold_seconds=0.05)
        stage.set_endpoints(ONE)
        request = stage.request()
        turn = await stage.turn(request)
        stage.hold.refused(request, turn, REFUSAL)
        turn.release()
        assert await error_of(asyncio.create_task(stage.turn(request))) is REFUSAL

    play(scene)


def test_when_the_time_is_up_and_others_are_at_work_the_line_is_the_reason() -> None:
    async def scene() -> None:
        stage = Stage(hold_seconds=0.05, max_at_replica=1)
        stage.set_endpoints(ONE)
        await stage.ask()
        error = await error_of(stage.ask())
        assert (error.status, error.code, error.headers) == (429, "queue_full", {"Retry-After": "10"})

    play(scene)


def test_a_refused_client_is_told_when_there_is_likely_to_be_room() -> None:
    async def scene() -> None:
        stage = Stage(max_at_replica=1, max_held_per_model=20)
        stage.set_endpoints(ONE)
        turn = await stage.ask()
        asking = [stage.ask() for _ in range(20)]
        await settle()
        for task in asking[:5]:
            await asyncio.sleep(0.2)
            stage.hold.finished(turn)
            turn.release()
            turn = await task
        asking += [stage.ask() for _ in range(5)]
        await settle()
        retry_after = int((await error_of(stage.ask())).headers["Retry-After"])
        assert 4 <= retry_after < 10, "21 requests at 0.2 s each and some, spread by half"
        for task in asking:
            task.cancel()

    play(scene)


def test_another_replica_ends_the_wait_for_room() -> None:
    async def scene() -> None:
        stage = Stage(max_at_replica=1)
        stage.set_endpoints(ONE)
        await stage.ask()
        asking = stage.ask()
        await settle()
        stage.set_endpoints(ONE, TWO)
        assert (await asking).endpoint == TWO

    play(scene)
