import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

import pytest

from heliograph_api.errors import APIError
from heliograph_runtime.drawings import Drawing, DrawingQueue, batch_of
from heliograph_runtime.engines.protocol import Inputs, Picture, Raster, Sampling
from runtime.sketches import run, sketch


def prompts(batch: list[list[Drawing]]) -> list[list[str]]:
    return [[drawing.prompt for drawing in request] for request in batch]


def queue_of(*, max_requests: int = 9) -> DrawingQueue:
    return DrawingQueue(max_requests=max_requests, retry_after_seconds=9)


def admitted(queue: DrawingQueue, drawings: Sequence[Drawing]) -> AbstractContextManager[None]:
    return queue.admitted(drawings, timeout_seconds=60)


def up_to(most: int, queue: DrawingQueue) -> Iterator[list[list[str]]]:
    """Yield the batches of at most so many that are taken until nothing waits."""
    while batch := queue.take(lambda _: most):
        yield prompts(batch)


def picture_of_inputs() -> Inputs:
    return Inputs(images=(Raster(8, 8, 3, bytes(8 * 8 * 3)),))


def test_like_drawings_are_taken_together_and_in_order() -> None:
    async def test() -> None:
        queue = queue_of()
        first = [sketch("a"), sketch("b", steps=5), sketch("c"), sketch("d", negative="x")]
        with admitted(queue, first), admitted(queue, [sketch("e"), sketch("f")]):
            assert len(queue) == 6
            assert list(up_to(3, queue)) == [[["a", "c"], ["e"]], [["f"]], [["b"]], [["d"]]]

    run(test())


def test_the_kind_decides_how_many_are_taken() -> None:
    def most(sampling: Sampling) -> int:
        return 1 if sampling.steps == 5 else 4

    async def test() -> None:
        queue = queue_of()
        with admitted(queue, [sketch("a", steps=5), sketch("b", steps=5), sketch("c"), sketch("d")]):
            assert [prompts(queue.take(most)) for _ in range(4)] == [[["a"]], [["b"]], [["c", "d"]], []]

    run(test())


def test_drawings_of_one_request_share_their_inputs_and_no_others() -> None:
    async def test() -> None:
        queue = queue_of()
        shared, other = picture_of_inputs(), picture_of_inputs()
        with (
            admitted(queue, [sketch("a", inputs=shared), sketch("b", inputs=shared)]),
            admitted(queue, [sketch("c", inputs=other)]),
        ):
            assert list(up_to(4, queue)) == [[["a", "b"]], [["c"]]]

    run(test())


def test_requests_take_turns_of_one_batch() -> None:
    async def test() -> None:
        queue = queue_of()
        with (
            admitted(queue, [sketch(f"a{index}") for index in range(6)]),
            admitted(queue, [sketch("b", steps=5)]),
            admitted(queue, [sketch(f"c{index}", steps=6) for index in range(3)]),
        ):
            batches = up_to(2, queue)
            assert [next(batches) for _ in range(3)] == [[["a0", "a1"]], [["b"]], [["c0", "c1"]]]
            with admitted(queue, [sketch("d", steps=5)]):
                assert list(batches) == [[["a2", "a3"]], [["c2"]], [["d"]], [["a4", "a5"]]]

    run(test())


def test_drawings_that_are_put_back_come_first_and_each_request_alone() -> None:
    async def test() -> None:
        queue = queue_of()
        with (
            admitted(queue, [sketch("a"), sketch("b")]),
            admitted(queue, [sketch("c")]),
            admitted(queue, [sketch("d")]),
            admitted(queue, [sketch("e")]),
        ):
            queue.put_back(queue.take(lambda _: 3))
            assert list(up_to(3, queue)) == [[["a", "b"]], [["c"]], [["d"], ["e"]]]

    run(test())


def test_drawings_that_nobody_waits_for_are_not_taken() -> None:
    async def test() -> None:
        queue = queue_of()
        with admitted(queue, [sketch("a"), first := sketch("b")]):
            with admitted(queue, [left := sketch("c")]):
                pass
            first.picture.cancel()
            assert len(queue) == 1
            assert list(up_to(4, queue)) == [[["a"]]]
        assert left.picture.cancelled()
        assert queue.requests == 0

    run(test())


def test_one_request_too_many_is_refused() -> None:
    async def test() -> None:
        queue = queue_of(max_requests=1)
        with admitted(queue, [sketch("a")]):
            queue.take(lambda _: 1)
            with pytest.raises(APIError) as caught, admitted(queue, [sketch("b")]):
                pass
            assert queue.requests == 1
        assert caught.value.status == 429
        assert caught.value.headers == {"Retry-After": "9"}
        with admitted(queue, [sketch("c")]):
            assert list(up_to(1, queue)) == [[["c"]]]

    run(test())


def test_what_is_not_drawn_in_time_fails() -> None:
    async def test() -> None:
        queue = queue_of()
        done, late = sketch("a"), sketch("b")
        with queue.admitted([done, late], timeout_seconds=0.01):
            done.picture.set_result(Picture(1, 1, b"rgb"))
            with pytest.raises(APIError) as caught:
                await late.picture
            assert not len(queue)
        assert caught.value.status == 504
        assert done.picture.result().pixels == b"rgb"

    run(test())


async def goes_on(waiting: asyncio.Task[None]) -> bool:
    """Return whether a task still waits after all that can run has run."""
    for _ in range(9):
        await asyncio.sleep(0)
    return not waiting.done()


def test_waits_until_there_is_a_drawing() -> None:
    async def test() -> None:
        queue = queue_of()
        waiting = asyncio.create_task(queue.wait())
        assert await goes_on(waiting)
        with admitted(queue, [sketch("a")]):
            await waiting
            queue.take(lambda _: 1)
            assert await goes_on(asyncio.create_task(queue.wait()))

    run(test())


def test_waits_for_several_requests_or_enough_drawings() -> None:
    async def test() -> None:
        queue = queue_of()
        with admitted(queue, [sketch("a")]):
            requests = asyncio.create_task(queue.wait(requests=2, enough=9))
            drawings = asyncio.create_task(queue.wait(requests=9, enough=4))
            assert await goes_on(requests)
            with admitted(queue, [sketch("b")]):
                await requests
                assert await goes_on(drawings)
                with admitted(queue, [sketch("c"), sketch("d")]):
                    await drawings

    run(test())


def test_a_batch_has_one_entry_for_each_drawing() -> None:
    async def test() -> None:
        plain = batch_of([sketch("a", seed=3), sketch("bb", seed=5)])
        assert (plain.prompts, plain.negative_prompts, plain.seeds) == (("a", "bb"), None, (3, 5))
        assert (plain.inputs, plain.preview_steps) == (None, ())
        assert batch_of([sketch("a", negative="x"), sketch("b", negative="")]).negative_prompts == ("x", "")
        inputs = picture_of_inputs()
        assert batch_of([sketch("a", inputs=inputs), sketch("b", inputs=inputs)]).inputs is inputs

    run(test())


def test_a_batch_shows_what_any_listener_wants_and_each_gets_its_own() -> None:
    async def test() -> None:
        told: list[tuple[str, int, bool]] = []
        first, second, silent = (
            sketch("a", preview_steps=(1, 3)),
            sketch("b", preview_steps=(2, 3)),
            sketch("c", preview_steps=(4,)),
        )
        first.listener = lambda done, _steps, preview: told.append(("a", done, preview is not None))
        second.listener = lambda done, _steps, preview: told.append(("b", done, preview is not None))

        assert batch_of([first, second, silent]).preview_steps == (1, 2, 3)
        for drawing in (first, second, silent):
            drawing.tell(1, 4, Picture(1, 1, b"rgb"))
            drawing.tell(3, 4, Picture(1, 1, b"rgb"))
        assert told == [("a", 1, True), ("a", 3, True), ("b", 1, False), ("b", 3, True)]

    run(test())
