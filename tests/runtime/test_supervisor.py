"""The queue, the supervisor and a real worker process with a scripted engine: what happens when something fails."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from heliograph_api.errors import APIError
from heliograph_api.manifest import read_manifests
from heliograph_runtime.engines.protocol import Inputs, Picture, Raster
from heliograph_runtime.events import Finished, Preview, Progress
from heliograph_runtime.service import Service
from heliograph_runtime.settings import RuntimeSettings
from runtime import scripted_worker
from runtime.runtimes import EXAMPLES
from runtime.scripted_worker import DEADLY, HUGE, IN_PARTS, LOST, ODD, SHORT, SLOW, STUBBORN, UNREADABLE
from runtime.sketches import drawn, run, sketch

MANIFEST = EXAMPLES / "tiny.yaml"


@pytest.fixture(autouse=True)
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start the scripted worker wherever the real one would be."""
    command = (sys.executable, "-P", str(Path(scripted_worker.__file__)))
    monkeypatch.setattr("heliograph_runtime.worker.process._COMMAND", command)


@asynccontextmanager
async def serving(**settings: float) -> AsyncIterator[Service]:
    """A service with its worker ready."""
    (model,) = read_manifests(MANIFEST.read_text(), default_name="tiny")
    service = Service(model, RuntimeSettings.model_validate({"manifest": MANIFEST, **settings}))
    supervision = asyncio.create_task(service.supervisor.run())
    try:
        await until(lambda: service.supervisor.unready is None)
        yield service
    finally:
        supervision.cancel()
        with suppress(asyncio.CancelledError):
            await supervision


async def until(check: Callable[[], bool]) -> None:
    """Wait for what no event tells of."""
    while not check():  # noqa: ASYNC110 - metrics and states are only there to be looked at
        await asyncio.sleep(0.01)


def metric(service: Service, name: str, **labels: str) -> float:
    samples = (
        sample
        for family in text_string_to_metric_families(service.metrics.text().decode())
        for sample in family.samples
    )
    return next(it.value for it in samples if it.name == f"heliograph_runtime_{name}" and it.labels == labels)


async def together(service: Service, *prompts: str) -> list[Picture | APIError]:
    """Return the outcomes of requests that wait together until a slow one before them is given up."""
    with service.draw_events([sketch(SLOW, steps=1000)]) as events:
        await anext(events)
        requests = [asyncio.create_task(outcome(drawn(service, [sketch(prompt)]))) for prompt in prompts]
        await until(lambda: metric(service, "queue_length") == len(prompts))
    return list(await asyncio.gather(*requests))


async def outcome(pictures: Awaitable[Sequence[Picture]]) -> Picture | APIError:
    try:
        (picture,) = await pictures
    except APIError as error:
        return error
    return picture


def codes(outcomes: Sequence[Picture | APIError]) -> list[str | None]:
    """Return the code of each error, and None for each picture."""
    return [it.code if isinstance(it, APIError) else None for it in outcomes]


def test_pixels_go_to_the_engine_and_come_back() -> None:
    async def test() -> None:
        async with serving() as service:
            pixels = bytes(range(192))
            inputs = Inputs(images=(Raster(8, 8, 3, pixels),))
            (picture,) = await drawn(service, [sketch("a", inputs=inputs)])
            assert (picture.width, picture.height, picture.pixels) == (8, 8, pixels[::-1])

    run(test())


def test_what_does_not_batch_is_drawn_one_by_one() -> None:
    async def test() -> None:
        async with serving() as service:
            inputs = Inputs(images=(Raster(8, 8, 3, bytes(192)),))
            await drawn(service, [sketch("a", inputs=inputs), sketch("b", inputs=inputs)])
            assert metric(service, "batch_images_count") == 2
            await drawn(service, [sketch("a"), sketch("b")])
            assert metric(service, "batch_images_count") == 3

    run(test())


def test_one_odd_request_does_not_fail_those_beside_it() -> None:
    async def test() -> None:
        async with serving() as service:
            assert codes(await together(service, "a", ODD, "b")) == [None, "generation_failed", None]
            assert metric(service, "batches_total", outcome="error") == 2
            assert metric(service, "batches_total", outcome="drawn") == 2
            assert metric(service, "worker_restarts_total") == 0

    run(test())


def test_what_the_engine_refuses_is_the_fault_of_one_request() -> None:
    async def test() -> None:
        async with serving() as service:
            outcomes = await together(service, "a", UNREADABLE, "b")
            assert codes(outcomes) == [None, "invalid_value", None]
            assert isinstance(outcomes[1], APIError)
            assert (outcomes[1].status, outcomes[1].param) == (400, "prompt")
            assert metric(service, "batches_total", outcome="refused") == 2
            assert metric(service, "worker_restarts_total") == 0

    run(test())


def test_too_few_pictures_are_a_failure() -> None:
    async def test() -> None:
        async with serving() as service:
            assert codes(await together(service, SHORT)) == ["generation_failed"]
            assert codes(await together(service, "a")) == [None]

    run(test())


def test_out_of_memory_is_told_and_survived() -> None:
    async def test() -> None:
        async with serving() as service:
            outcomes = await together(service, HUGE, "a")
            assert codes(outcomes) == ["out_of_memory", "out_of_memory"]
            for error in outcomes:
                assert isinstance(error, APIError)
                assert (error.status, error.headers) == (503, {"x-should-retry": "false"})
                assert "8x8" in error.message
            assert metric(service, "batches_total", outcome="out_of_memory") == 1
            assert codes(await together(service, "a")) == [None]
            assert metric(service, "worker_restarts_total") == 0

    run(test())


def test_a_lost_device_ends_the_worker_and_another_try_works() -> None:
    async def test() -> None:
        async with serving() as service:
            failed, waited = await together(service, LOST), drawn(service, [sketch("a")])
            (error,) = failed
            assert isinstance(error, APIError)
            assert (error.status, error.code, error.headers) == (503, "device_lost", {"Retry-After": "5"})
            assert codes([await outcome(waited)]) == [None]
            assert metric(service, "batches_total", outcome="device_lost") == 1
            assert metric(service, "worker_restarts_total") == 1

    run(test())


def test_the_end_of_the_worker_fails_what_it_was_at_and_nothing_else() -> None:
    async def test() -> None:
        async with serving() as service:
            outcomes = await together(service, ODD, DEADLY, "a")
            assert codes(outcomes) == ["generation_failed", "worker_crashed", None]
            assert metric(service, "batches_total", outcome="crashed") == 1
            assert metric(service, "worker_restarts_total") == 1

    run(test())


def test_events_of_a_batch_go_to_their_requests() -> None:
    async def test() -> None:
        async with serving() as service:
            first = [sketch(SLOW, seed=10, preview_steps=(1, 3)), sketch("a", seed=20, preview_steps=(2,))]
            other = [sketch("b", seed=30)]
            blocker = asyncio.create_task(drawn(service, [sketch("c", steps=1000), sketch(SLOW, steps=1000)]))
            await until(lambda: metric(service, "worker_busy") == 1)
            with service.draw_events(first) as events, service.draw_events(other) as others:
                blocker.cancel()
                shown = [event async for event in events]
                (told,) = [event async for event in others if isinstance(event, Finished)]

            previews = [(it.index, it.number, it.picture.pixels[0]) for it in shown if isinstance(it, Preview)]
            results = [(it.index, it.picture.pixels[0]) for it in shown if isinstance(it, Finished)]
            assert previews == [(0, 0, 11), (1, 0, 22), (0, 1, 13)]
            assert results == [(0, 10), (1, 20)]
            assert {(it.index, it.steps) for it in shown if isinstance(it, Progress)} == {(0, 4), (1, 4)}
            assert told.picture.pixels[0] == 30
            assert metric(service, "batch_images_count") == 2
            assert metric(service, "previews_total") == 9

    run(test())


def test_a_step_that_is_none_of_the_whole_batch_is_no_progress() -> None:
    async def test() -> None:
        async with serving() as service:
            with service.draw_events([sketch(IN_PARTS), sketch("a")]) as events:
                told = [event async for event in events]
            assert {event.index for event in told if isinstance(event, Finished)} == {0, 1}
            assert all(event.done for event in told if isinstance(event, Progress))

    run(test())


def test_leaving_the_events_cancels_the_work() -> None:
    async def test() -> None:
        async with serving() as service:
            with service.draw_events([sketch(SLOW, steps=1000)]) as events:
                assert isinstance(await anext(events), Progress)
            assert len(await drawn(service, [sketch("a")])) == 1
            assert metric(service, "batches_total", outcome="cancelled") == 1
            assert metric(service, "images_total") == 1
            assert 4 < metric(service, "steps_total") < 1000

    run(test())


@pytest.mark.parametrize(("steps", "load_seconds", "restarts"), [(2000, 0.5, 1), (20, 30.0, 0)])
def test_what_cannot_stop_is_killed_when_to_load_again_is_cheaper(
    steps: int, load_seconds: float, restarts: int
) -> None:
    async def test() -> None:
        async with serving() as service:
            assert service.capabilities.stops_at_step
            service.supervisor.capabilities = replace(service.capabilities, stops_at_step=False)
            service.supervisor._load_seconds = load_seconds
            with service.draw_events([sketch(STUBBORN, steps=steps)]) as events:
                assert isinstance(await anext(events), Progress)
            assert len(await drawn(service, [sketch("a")])) == 1
            assert metric(service, "worker_restarts_total") == restarts
            assert metric(service, "batches_total", outcome="cancelled") == 1
            assert metric(service, "batches_total", outcome="crashed") == 0

    run(test())


def test_events_have_a_deadline() -> None:
    async def test() -> None:
        async with serving(request_timeout_seconds=0.3) as service:
            with service.draw_events([sketch(SLOW, steps=1000)]) as events:
                with pytest.raises(APIError) as caught:
                    _ = [event async for event in events]
                await until(lambda: metric(service, "batches_total", outcome="cancelled") == 1)
            assert (caught.value.status, caught.value.code) == (504, "deadline_exceeded")

    run(test())


def test_one_request_too_many_is_refused_on_entering() -> None:
    async def test() -> None:
        async with serving(max_queue=1) as service:
            with service.draw_events([sketch(SLOW, steps=1000)]):
                with pytest.raises(APIError) as caught, service.draw_events([sketch("a")]):
                    pass
                assert caught.value.status == 429
            assert len(await drawn(service, [sketch("a")])) == 1

    run(test())


def test_clients_that_come_back_after_a_batch_share_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second client comes while the first is being served; from then on they are served together."""
    monkeypatch.setattr("heliograph_runtime.worker.supervisor._WAIT_SHARE", 100)

    async def client(service: Service, *, images: int) -> None:
        for _ in range(images):
            await drawn(service, [sketch(SLOW)])
            await asyncio.sleep(0.01)

    async def test(wait: float, images: Sequence[int]) -> float:
        async with serving(batch_wait_seconds=wait) as service:
            first = asyncio.create_task(client(service, images=images[0]))
            await until(lambda: metric(service, "worker_busy") == 1)
            await client(service, images=images[1])
            await first
            return metric(service, "batch_images_count")

    assert run(test(1, (4, 3))) == 4
    assert run(test(0, (4, 3))) > 4


@pytest.mark.parametrize(
    ("settings", "batches"),
    [
        ({}, 1),
        ({"max_batch": 2}, 3),
        # A sketch has 8x8 pixels.
        ({"max_batch_pixels": 3 * 8 * 8}, 2),
        ({"max_batch_pixels": 1}, 6),
    ],
)
def test_batches_are_bounded_in_number_and_pixels(settings: dict[str, int], batches: int) -> None:
    async def test() -> None:
        async with serving(**settings) as service:
            assert len(await drawn(service, [sketch(str(number)) for number in range(6)])) == 6
            assert metric(service, "batch_images_count") == batches

    run(test())


def test_a_client_that_is_alone_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were it to wait a second for each image, it would not be done within the minute that it has."""
    monkeypatch.setattr("heliograph_runtime.worker.supervisor._WAIT_SHARE", 1_000_000)

    async def test() -> None:
        async with serving(batch_wait_seconds=1) as service:
            for _ in range(70):
                await drawn(service, [sketch("a"), sketch("b")])
            assert metric(service, "batch_images_count") == 70

    run(test())


def test_counts_what_was_drawn() -> None:
    async def test() -> None:
        async with serving() as service:
            await drawn(service, [sketch("a"), sketch("b"), sketch("c", steps=7)])
            assert metric(service, "images_total") == 3
            assert metric(service, "frames_total") == 3
            assert metric(service, "steps_total") == 4 + 7
            assert metric(service, "generation_seconds_count", mode="text") == 2
            service.metrics.count_ignored_keys(2)
            assert metric(service, "ignored_keys_total") == 2

    run(test())
