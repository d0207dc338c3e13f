"""Keeps a worker running and gives it work: the one task that reads the queue."""

import asyncio
import logging
import time
from contextlib import suppress
from itertools import count

from heliograph_api.manifest import ImageModel
from heliograph_api.usage import Usage
from heliograph_runtime.drawings import Drawing, DrawingQueue, batch_of, fail
from heliograph_runtime.engines.protocol import Capabilities, DeviceMemory, LoadError, Sampling
from heliograph_runtime.metrics import BatchOutcome, Metrics
from heliograph_runtime.settings import RuntimeSettings
from heliograph_runtime.worker.failures import batch_failed, worker_crashed
from heliograph_runtime.worker.messages import (
    Cancel,
    Drawn,
    Generate,
    GenerateFailed,
    JobEnd,
    Load,
    Loaded,
    LoadFailed,
    Refused,
    Step,
    Stopped,
)
from heliograph_runtime.worker.process import WorkerEndedError, WorkerProcess

_FIRST_DELAY = 0.5
_LONGEST_DELAY = 60.0
_WAIT_SHARE = 0.05
"""The wait for clients that were just served is at most this share of the time that their batch took."""
_FAULT_OF_ONE: frozenset[BatchOutcome] = frozenset({"error", "refused"})
"""Ends of a batch for which one of its requests may be the reason."""

log = logging.getLogger(__name__)


class Supervisor:
    """Starts the worker, has it draw what is queued, and starts it again when it ends.

    Attributes:
        capabilities: What the model can do; None until it has been loaded for the first time.
        unready: Why no picture can be drawn at the moment; None when it can.
        busy: Whether the worker is drawing.
        memory: What was in use of the GPUs when the worker last told; None on a CPU, or where nothing tells.
    """

    def __init__(
        self,
        model: ImageModel,
        *,
        drawings: DrawingQueue,
        metrics: Metrics,
        settings: RuntimeSettings,
        retry_after_seconds: int,
    ) -> None:
        self.capabilities: Capabilities | None = None
        self.unready: str | None = "The model is being loaded."
        self.busy = False
        self.memory: DeviceMemory | None = None
        self._load = Load(spec=dict(model.raw_spec), models_dir=str(settings.models_dir))
        self._drawings = drawings
        self._metrics = metrics
        self._settings = settings
        self._retry_after_seconds = retry_after_seconds
        self._jobs = count(1)
        self._delay = 0.0
        self._company = 1
        """Requests that were at work or waiting when the last batch ended; its clients may soon ask again."""
        self._enough = 1
        """Drawings that fill a batch like the last one, after which nobody is waited for."""
        self._company_until = 0.0
        """When to stop waiting for them, in the event loop's time."""
        self._load_seconds = 0.0
        """How long the last load took, the worker's start included."""
        self._most_gpus = model.spec.tensor_parallel_size or 1
        self._ends_at: float | None = None
        """When the job at work will end if it goes on like this, in the event loop's time; None before a first step."""

    async def run(self) -> None:
        """Work until cancelled.

        Raises:
            LoadError: The model can't be loaded to begin with. Once it has been, a worker that ends or can't load is
                started again for ever: at once if it has drawn anything, else with growing delays up to a minute.
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
            self._delay = min(max(self._delay * 2, _FIRST_DELAY), _LONGEST_DELAY)
            self._metrics.worker_restarts.inc()

    async def _run_worker(self) -> None:
        started = time.monotonic()
        worker = await WorkerProcess.start()
        try:
            log.info("worker %d starts", worker.pid)
            await worker.send(self._load)
            message = await worker.receive()
            if isinstance(message, LoadFailed):
                raise LoadError(message.reason, message.message)
            if not isinstance(message, Loaded):
                raise WorkerEndedError(f"it answered {message.type} to an order to load")
            self.memory = message.memory
            self._loaded(message.capabilities, seconds=time.monotonic() - started)
            while True:
                await self._wait_for_work(worker)
                await self._draw(worker, self._drawings.take(self._most))
        finally:
            self._metrics.worker_ready.set(0)
            await worker.stop()

    def _loaded(self, capabilities: Capabilities, *, seconds: float) -> None:
        modes = ", ".join(f"{mode}: {it.pipeline}" for mode, it in capabilities.modes.items())
        log.info("loaded %s on %s as %s in %.1f s", modes, capabilities.device, capabilities.dtype, seconds)
        self._metrics.load_seconds.set(seconds)
        self._load_seconds = seconds
        self._metrics.worker_ready.set(1)
        self.capabilities = capabilities
        self.unready = None

    @property
    def _gpus(self) -> int:
        """Return how many GPUs the model is on."""
        on_cpu = self.capabilities is None or self.capabilities.device == "cpu"
        return 0 if on_cpu else self._most_gpus

    def _deliver(self, drawings: list[Drawing], drawn: Drawn, *, seconds: float) -> None:
        """Hand over what a batch gave; each picture took its part of the time, whoever else's was drawn with it."""
        share = seconds / len(drawings)
        for drawing, picture in zip(drawings, drawn.pictures, strict=True):
            usage = Usage(
                images=1,
                pixels=picture.area,
                steps=drawn.steps_each,
                seconds=share,
                gpu_seconds=share * self._gpus,
            )
            drawing.deliver(picture, usage)

    def _most(self, sampling: Sampling) -> int:
        """Return how many drawings of a kind may be drawn in one call."""
        mode = self.capabilities and self.capabilities.modes.get(sampling.mode)
        if not (mode and mode.batches):
            return 1
        by_pixels = self._settings.max_batch_pixels // (sampling.width * sampling.height)
        return max(1, min(self._settings.max_batch, by_pixels))

    async def _wait_for_work(self, worker: WorkerProcess) -> None:
        """Wait for a drawing; raise `WorkerEndedError` when the worker ends before there is one."""
        waits = {asyncio.create_task(self._gather()), asyncio.create_task(worker.wait_ended())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if worker.ended:
            raise await worker.ending()

    async def _gather(self) -> None:
        """Wait for a drawing, and for a moment after a batch for as many requests as there were.

        Clients that send one request after the other come back together, a few milliseconds apart. Without the wait
        the first of them would be drawn alone, and from then on they would take turns instead of sharing batches.
        """
        await self._drawings.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._company_until):
                await self._drawings.wait(requests=self._company, enough=self._enough)

    async def _draw(self, worker: WorkerProcess, batch: list[list[Drawing]]) -> None:
        """Have the drawings of one request or several drawn in one call; of none, if they were cancelled meanwhile."""
        drawings = [drawing for request in batch for drawing in request]
        if not drawings:
            return
        sampling = drawings[0].sampling
        self._metrics.batch_images.observe(len(drawings))
        for drawing in drawings:
            drawing.begin(company=len(drawings))
        started = time.monotonic()
        try:
            message = await self._run_job(worker, drawings)
        finally:
            seconds = time.monotonic() - started
            self._metrics.count_work(seconds, gpus=self._gpus)
        self._metrics.count_batch(_outcome(message), steps=message.steps)
        if isinstance(message, Drawn):
            self.memory = message.memory
            self._metrics.count_pictures(message.pictures, mode=sampling.mode, seconds=seconds)
            self._delay = 0.0
            self._deliver(drawings, message, seconds=seconds)
        elif len(batch) > 1 and _outcome(message) in _FAULT_OF_ONE:
            log.warning("a batch of %d requests failed; each of them is drawn alone", len(batch))
            self._drawings.put_back(batch)
        elif isinstance(message, Refused | GenerateFailed):
            fail(drawings, batch_failed(message, sampling, retry_after_seconds=self._retry_after_seconds))
            if _outcome(message) == "device_lost":
                raise await worker.ending()
        self._enough = self._most(sampling)
        wait = min(self._settings.batch_wait_seconds, seconds * _WAIT_SHARE) if self._enough > 1 else 0.0
        self._company = self._drawings.requests
        self._company_until = asyncio.get_running_loop().time() + wait

    async def _run_job(self, worker: WorkerProcess, drawings: list[Drawing]) -> JobEnd:
        """Return how a batch ended; it is cancelled when nobody waits for it any more, and fails with the worker."""
        job = next(self._jobs)
        self.busy = True
        self._metrics.worker_busy.set(1)
        answer = asyncio.create_task(self._order(worker, job, drawings))
        abandoned = asyncio.create_task(_all_done(drawings))
        try:
            await asyncio.wait({answer, abandoned}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                await self._cancel(worker, job, answer)
            return await answer
        except WorkerEndedError as ended:
            self._metrics.count_batch("cancelled" if abandoned.done() else "crashed")
            fail(drawings, worker_crashed(ended))
            raise
        finally:
            answer.cancel()
            abandoned.cancel()
            self.busy = False
            self._metrics.worker_busy.set(0)

    async def _order(self, worker: WorkerProcess, job: int, drawings: list[Drawing]) -> JobEnd:
        """Return the message that ends a job; those on its steps go to whoever listens."""
        loop = asyncio.get_running_loop()
        started, self._ends_at = loop.time(), None
        await worker.send(Generate(job, batch_of(drawings)))
        while True:
            message = await worker.receive()
            if isinstance(message, Step) and message.job == job:
                # Of a batch that is drawn in parts, the first step of the first may not count as one of the whole.
                if message.done:
                    self._ends_at = started + (loop.time() - started) * message.steps / message.done
                self._metrics.previews.inc(len(message.previews))
                previews = message.previews or (None,) * len(drawings)
                for drawing, preview in zip(drawings, previews, strict=True):
                    drawing.tell(message.done, message.steps, preview)
            elif isinstance(message, JobEnd) and message.job == job:
                return message

    async def _cancel(self, worker: WorkerProcess, job: int, answer: asyncio.Task[object]) -> None:
        """Stop a job that nobody waits for; a worker that takes too long to stop is killed."""
        await worker.send(Cancel(job))
        patience = self._patience()
        if patience > 0:
            await asyncio.wait({answer}, timeout=patience)
        if not answer.done():
            log.warning("job %d did not stop within %.1f s; its worker is killed", job, patience)
            worker.kill()

    def _patience(self) -> float:
        """Return how many seconds a cancelled job has to end.

        An engine that can't stop is left alone while that is cheaper than to load the model again: as long as the load
        took, or not at all if the job is known to take longer than that. So a cancellation costs at most twice what
        the better of the two would have.
        """
        if self.capabilities is None or self.capabilities.stops_at_step:
            return self._settings.cancel_grace_seconds
        longest = min(self._load_seconds, self._settings.cancel_grace_seconds)
        rest = self._ends_at - asyncio.get_running_loop().time() if self._ends_at else 0.0
        return longest if rest <= longest else 0.0


async def _all_done(drawings: list[Drawing]) -> None:
    await asyncio.wait([drawing.picture for drawing in drawings])


def _outcome(message: JobEnd) -> BatchOutcome:
    match message:
        case Drawn():
            return "drawn"
        case Stopped():
            return "cancelled"
        case Refused():
            return "refused"
        case GenerateFailed():
            return message.reason


def _crash_on_load(ended: WorkerEndedError) -> str:
    return (
        f"parameters.model: the worker ended while it loaded the model ({ended}); "
        "after SIGKILL, give the pod more memory or use a smaller model"
    )
