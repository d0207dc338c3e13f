import asyncio

import pytest

from heliograph_api.errors import APIError
from heliograph_runtime.engines.protocol import Picture
from heliograph_runtime.events import DrawEvent, EventStream, Finished, Preview, Progress
from runtime.sketches import run, sketch


def picture(text: bytes) -> Picture:
    return Picture(1, 1, text)


def plain(event: DrawEvent) -> tuple[object, ...]:
    """Return an event as a tuple that can be compared."""
    match event:
        case Progress(index, done, steps):
            return index, done, steps
        case Preview(index, number, shown):
            return index, number, shown.pixels
        case Finished(index, shown):
            return index, shown.pixels


def test_tells_of_steps_previews_and_results() -> None:
    async def test() -> None:
        drawings = first, second = sketch("a", preview_steps=(2,)), sketch("b")
        events = EventStream(drawings)

        first.tell(1, 4, None)
        assert plain(await anext(events)) == (0, 1, 4)
        first.tell(2, 4, picture(b"pre"))
        second.tell(2, 4, picture(b"not"))
        assert [plain(await anext(events)) for _ in range(3)] == [(0, 0, b"pre"), (0, 2, 4), (1, 2, 4)]
        second.picture.set_result(picture(b"two"))
        assert plain(await anext(events)) == (1, b"two")
        first.picture.set_result(picture(b"one"))
        assert [plain(event) async for event in events] == [(0, b"one")]

    run(test())


def test_keeps_each_picture_and_the_latest_progress_for_a_slow_reader() -> None:
    async def test() -> None:
        drawings = done, going = [sketch(prompt, preview_steps=(300, 600)) for prompt in "ab"]
        events = EventStream(drawings)

        for step in range(1, 1001):
            for drawing in drawings:
                drawing.tell(step, 1000, picture(b"%3d" % step))
        done.picture.set_result(picture(b"one"))
        await asyncio.sleep(0)

        assert [plain(await anext(events)) for _ in range(6)] == [
            (0, 0, b"300"),
            (1, 0, b"300"),
            (0, 1, b"600"),
            (1, 1, b"600"),
            (0, b"one"),
            (1, 1000, 1000),
        ]
        assert not going.picture.done()

    run(test())


def test_a_batch_that_is_drawn_once_more_is_told_once() -> None:
    async def test() -> None:
        drawing = sketch("a", preview_steps=(1,))
        events = EventStream([drawing])

        for step in (1, 2, 1, 2, 3):
            drawing.tell(step, 3, picture(b"rgb"))
        drawing.picture.set_result(picture(b"one"))

        assert [plain(event) async for event in events] == [(0, 0, b"rgb"), (0, 3, 3), (0, b"one")]

    run(test())


def test_a_wait_that_is_cut_off_loses_nothing() -> None:
    async def test() -> None:
        drawing = sketch("a")
        events = EventStream([drawing])

        for step in range(1, 4):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(events), timeout=0.01)
            drawing.tell(step, 3, None)
            assert plain(await asyncio.wait_for(anext(events), timeout=30)) == (0, step, 3)

    run(test())


def test_a_failure_comes_after_the_results_before_it() -> None:
    async def test() -> None:
        drawings = good, bad, _ = [sketch(prompt) for prompt in "abc"]
        events = EventStream(drawings)

        good.picture.set_result(picture(b"one"))
        bad.picture.set_exception(APIError(503, "no"))
        await asyncio.sleep(0)

        assert plain(await anext(events)) == (0, b"one")
        with pytest.raises(APIError) as caught:
            await anext(events)
        assert caught.value.status == 503

    run(test())


def test_ends_when_the_request_has_been_left() -> None:
    async def test() -> None:
        drawing = sketch("a")
        events = EventStream([drawing])
        drawing.picture.cancel()

        assert [event async for event in events] == []

    run(test())
