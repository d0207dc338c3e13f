"""Keeps a worker running and gives it work: the one task that reads the queue."""

import asyncio
import logging
import time
from itertools import count
from pathlib import Path

from heliograph_api.errors import APIError
from heliograph_api.manifest import ImageModel
from heliograph_runtime.drawings import Drawing, DrawingQueue, batch_of
from heliograph_runtime.engines.protocol import Capabilities, LoadError, Picture
from heliograph_runtime.metrics import Metrics
from heliograph_runtime.worker.messages import (
    Cancel,
    Drawn,
    FromWorker,
    Generate,
    GenerateFailed,
    Load,
    Loaded,
    LoadFailed,
    Stopped,
)
from heliograph_runtime.worker.process import WorkerEndedError, WorkerProcess

_FIRST_DELAY = 0.5
_LONGEST_DELAY = 60.0
_NO_RETRY = {"x-should-retry": "false"}

log = logging.getLogger(__name__)


class Supervisor:
    """Starts the worker, has it draw what is queued, and starts it again when it ends.

    Attributes:
        capabilities: What the model can do; None until it has been loaded for the first time.
        unready: Why no picture can be drawn at the moment; None when it can.
    """

    def __init__(
        self,
        model: ImageModel,
        *,
        models_dir: Path,
        drawings: DrawingQueue,
        metrics: Metrics,
        max_batch: int,
        cancel_grace_seconds: float,
    ) -> None:
        self.capabilities: Capabilities | None = None
        self.unready: str | None = "The model is being loaded."
        self._load = Load(spec=dict(model.raw_spec), models_dir=str(models_dir))
        self._drawings = drawings
        self._metrics = metrics
        self._max_batch = max_batch
        self._cancel_grace_seconds = cancel_grace_seconds
        self._jobs = count(1)
        self._delay = _FIRST_DELAY

    async def run(self) -> None:
        """Work until cancelled.

        Raises:
            LoadError: The model can't be loaded to begin with. Once it has been, a worker that ends or can't load is
                started again for ever, with growing delays up to a minute.
        """
        while True:
            try:
                await self._run_worker()
            except LoadError as error:
                if self.capabilities is None:
                    raise
                self.unready = f"The model could not be loaded again: {error}"
            except WorkerEndedError as ended:
                if self.capabilities is None:
                    raise LoadError("WorkerCrashed", _crash_on_load(ended)) from None
                self.unready = f"The worker ended ({ended}) and is being started again."
            log.error("%s Next start in %.1f s.", self.unready, self._delay)
            await asyncio.sleep(self._delay)
            self._delay = min(self._delay * 2, _LONGEST_DELAY)
            self._metrics.worker_restarts.inc()

    async def _run_worker(self) -> None:
        started = time.monotonic()
        worker = await WorkerProcess.start()
        try:
            log.info("worker %d starts", worker.pid)
            await worker.send(self._load)
            message, _ = await worker.receive()
            if isinstance(message, LoadFailed):
                raise LoadError(message.reason, message.message)
            if not isinstance(message, Loaded):
                raise WorkerEndedError(f"it answered {message.type} to an order to load")
            self._loaded(message.capabilities, seconds=time.monotonic() - started)
            while True:
                await self._wait_for_work(worker)
                drawings = self._drawings.take(self._max_batch)
                if drawings:
                    await self._draw(worker, drawings)
        finally:
            self._metrics.worker_ready.set(0)
            await worker.stop()

    def _loaded(self, capabilities: Capabilities, *, seconds: float) -> None:
        log.info(
            "loaded %s on %s as %s in %.1f s",
            capabilities.pipeline,
            capabilities.device,
            capabilities.dtype,
            seconds,
        )
        self._metrics.load_seconds.set(seconds)
        self._metrics.worker_ready.set(1)
        self.capabilities = capabilities
        self.unready = None

    async def _wait_for_work(self, worker: WorkerProcess) -> None:
        """Wait for a drawing; raise `WorkerEndedError` when the worker ends before there is one."""
        waits = {asyncio.create_task(self._drawings.wait()), asyncio.create_task(worker.wait_ended())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if worker.ended:
            raise await worker.ending()

    async def _draw(self, worker: WorkerProcess, drawings: list[Drawing]) -> None:
        """Have drawings drawn in one call; their requests fail with the worker, or are abandoned by cancelling."""
        job = next(self._jobs)
        self._metrics.batch_images.observe(len(drawings))
        self._metrics.worker_busy.set(1)
        started = time.monotonic()
        answer = asyncio.create_task(self._order(worker, job, drawings))
        abandoned = asyncio.create_task(_all_done(drawings))
        try:
            await asyncio.wait({answer, abandoned}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                await self._cancel(worker, job, answer)
            message, pixels = await answer
        except WorkerEndedError as ended:
            _fail(drawings, APIError(500, _crash(ended), code="worker_crashed", headers=_NO_RETRY))
            raise
        finally:
            answer.cancel()
            abandoned.cancel()
            self._metrics.worker_busy.set(0)
        if isinstance(message, Drawn):
            self._metrics.generation_seconds.observe(time.monotonic() - started)
            self._metrics.images.inc(len(drawings))
            self._delay = _FIRST_DELAY
            _deliver(drawings, message.sizes, pixels)
        elif isinstance(message, GenerateFailed):
            _fail(drawings, _failure(message, drawings[0]))

    async def _order(self, worker: WorkerProcess, job: int, drawings: list[Drawing]) -> tuple[FromWorker, bytes]:
        """Return the message that ends a job, and the bytes behind it."""
        await worker.send(Generate(job, batch_of(drawings)))
        while True:
            message, pixels = await worker.receive()
            if isinstance(message, Drawn | Stopped | GenerateFailed) and message.job == job:
                return message, pixels

    async def _cancel(self, worker: WorkerProcess, job: int, answer: asyncio.Task[tuple[FromWorker, bytes]]) -> None:
        """Stop a job that nobody waits for; a worker that takes too long to stop is killed."""
        await worker.send(Cancel(job))
        await asyncio.wait({answer}, timeout=self._cancel_grace_seconds)
        if not answer.done():
            log.error("job %d did not stop within %.0f s; its worker is killed", job, self._cancel_grace_seconds)
            worker.kill()


async def _all_done(drawings: list[Drawing]) -> None:
    await asyncio.wait([drawing.picture for drawing in drawings])


def _deliver(drawings: list[Drawing], sizes: list[tuple[int, int]], pixels: bytes) -> None:
    start = 0
    for drawing, (width, height) in zip(drawings, sizes, strict=True):
        end = start + width * height * 3
        if not drawing.picture.done():
            drawing.picture.set_result(Picture(width, height, pixels[start:end]))
        start = end


def _fail(drawings: list[Drawing], error: APIError) -> None:
    for drawing in drawings:
        if not drawing.picture.done():
            drawing.picture.set_exception(error)


def _failure(message: GenerateFailed, drawing: Drawing) -> APIError:
    if message.out_of_memory:
        size = f"{drawing.sampling.width}x{drawing.sampling.height}"
        return APIError(
            500,
            f"The device ran out of memory at {size}; ask for a smaller size or fewer images.",
            code="out_of_memory",
            headers=_NO_RETRY,
        )
    return APIError(
        500,
        "The engine failed to draw this; the runtime's log says why. Other sizes or settings may work.",
        code="generation_failed",
        headers=_NO_RETRY,
    )


def _crash(ended: WorkerEndedError) -> str:
    return f"The worker process ended while it drew ({ended}); it is being started again."


def _crash_on_load(ended: WorkerEndedError) -> str:
    return (
        f"parameters.model: the worker ended while it loaded the model ({ended}); "
        "after SIGKILL, give the pod more memory or use a smaller model"
    )
