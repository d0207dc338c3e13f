import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest

from heliograph_api.errors import APIError
from heliograph_runtime.drawings import Drawing, DrawingQueue, batch_of
from heliograph_runtime.engines.protocol import Sampling

SAMPLING = Sampling(width=64, height=64, steps=4, guidance_scale=4.0, sampler=None, clip_skip=None)


def drawing(prompt: str, *, steps: int = 4, negative: str | None = None) -> Drawing:
    return Drawing(sampling=replace(SAMPLING, steps=steps), prompt=prompt, negative_prompt=negative, seed=len(prompt))


def prompts(drawings: list[Drawing]) -> list[str]:
    return [it.prompt for it in drawings]


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, timeout=30))


def test_like_drawings_are_taken_together_and_in_order() -> None:
    async def test() -> None:
        queue = DrawingQueue(max_requests=9, retry_after_seconds=1)
        first = [drawing("a"), drawing("b", steps=5), drawing("c"), drawing("d", negative="x")]
        with queue.admitted(first), queue.admitted([drawing("e"), drawing("f")]):
            assert len(queue) == 6
            assert [prompts(queue.take(2)) for _ in range(5)] == [["a", "c"], ["b"], ["d"], ["e", "f"], []]

    run(test())


def test_drawings_that_nobody_waits_for_are_not_taken() -> None:
    async def test() -> None:
        queue = DrawingQueue(max_requests=9, retry_after_seconds=1)
        with queue.admitted([drawing("a"), first := drawing("b")]):
            with queue.admitted([left := drawing("c")]):
                pass
            first.picture.cancel()
            assert len(queue) == 1
            assert prompts(queue.take(4)) == ["a"]
        assert left.picture.cancelled()
        assert queue.requests == 0

    run(test())


def test_one_request_too_many_is_refused() -> None:
    async def test() -> None:
        queue = DrawingQueue(max_requests=1, retry_after_seconds=9)
        with queue.admitted([drawing("a")]):
            queue.take(1)
            with pytest.raises(APIError) as caught, queue.admitted([drawing("b")]):
                pass
            assert queue.requests == 1
        assert caught.value.status == 429
        assert caught.value.headers == {"Retry-After": "9"}
        with queue.admitted([drawing("c")]):
            assert prompts(queue.take(1)) == ["c"]

    run(test())


def test_waits_until_there_is_a_drawing() -> None:
    async def test() -> None:
        queue = DrawingQueue(max_requests=9, retry_after_seconds=1)
        waiting = asyncio.create_task(queue.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        with queue.admitted([drawing("a")]):
            await waiting
            queue.take(1)
            again = asyncio.create_task(queue.wait())
            await asyncio.sleep(0)
            assert not again.done()
            again.cancel()

    run(test())


def test_a_batch_has_one_entry_for_each_drawing() -> None:
    async def test() -> None:
        plain = batch_of([drawing("a"), drawing("bb")])
        assert (plain.prompts, plain.negative_prompts, plain.seeds) == (("a", "bb"), None, (1, 2))
        assert batch_of([drawing("a", negative="x"), drawing("b", negative="")]).negative_prompts == ("x", "")

    run(test())
