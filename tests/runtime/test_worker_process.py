"""The messages of a real worker process, with a scripted engine."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from heliograph_runtime.drawings import batch_of
from heliograph_runtime.worker.messages import Cancel, Generate, GenerateFailed, Load, Loaded, Message, Step, Stopped
from heliograph_runtime.worker.process import WorkerEndedError, WorkerProcess
from runtime import scripted_worker
from runtime.scripted_worker import LOST, SLOW
from runtime.sketches import run, sketch


@asynccontextmanager
async def loaded(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WorkerProcess]:
    command = (sys.executable, "-P", str(Path(scripted_worker.__file__)))
    monkeypatch.setattr("heliograph_runtime.worker.process._COMMAND", command)
    worker = await WorkerProcess.start()
    try:
        await worker.send(Load(spec={"parameters": {"model": "none"}}, models_dir="/"))
        assert isinstance(await worker.receive(), Loaded)
        yield worker
    finally:
        await worker.stop()


def order(prompt: str, *, steps: int) -> Generate:
    return Generate(1, batch_of([sketch(prompt, steps=steps)]))


async def after_steps(worker: WorkerProcess) -> Message:
    """Return the first message that tells of no step."""
    while isinstance(message := await worker.receive(), Step):
        pass
    return message


def test_fast_steps_are_told_now_and_then_and_the_last_always(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with loaded(monkeypatch) as worker:
            await worker.send(order("a", steps=1000))
            steps = []
            while isinstance(message := await worker.receive(), Step):
                steps.append(message.done)
            assert steps[-1] == 1000
            assert len(steps) < 500

    run(test())


def test_an_order_to_cancel_is_heard_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with loaded(monkeypatch) as worker:
            await worker.send(order(SLOW, steps=1000))
            await worker.send(Cancel(1))
            stopped = await after_steps(worker)
            assert isinstance(stopped, Stopped)
            assert stopped.steps < 1000

    run(test())


def test_a_lost_device_is_told_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with loaded(monkeypatch) as worker:
            await worker.send(order(LOST, steps=1))
            assert await after_steps(worker) == GenerateFailed(1, 1, "device_lost")
            with pytest.raises(WorkerEndedError, match="its device was lost"):
                await worker.receive()

    run(test())
