"""The operator's process."""

import asyncio
import logging
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any

import aiohttp
import kopf

from heliograph_operator.autoscale.autoscaler import Autoscaler
from heliograph_operator.autoscale.broker import Broker
from heliograph_operator.autoscale.gateways import Gateways, open_gateways
from heliograph_operator.events import build_registry, build_settings
from heliograph_operator.fetching import ProgressClient
from heliograph_operator.health import Health, ListenError, serve_health
from heliograph_operator.inventory import Inventory, Key
from heliograph_operator.kube import CredentialsError, KubeClient, connect
from heliograph_operator.lease import Lease
from heliograph_operator.metrics import Metrics
from heliograph_operator.reconcile import Reconciler
from heliograph_operator.resync import Resync
from heliograph_operator.settings import OperatorSettings
from heliograph_operator.workqueue import WorkQueue

logger = logging.getLogger(__name__)


def run(settings: OperatorSettings) -> int:
    """Run the operator until SIGTERM or SIGINT, and return the exit status: 1 when it had to give up."""
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # kopf reports every event and every attempt; what matters of that is reported here.
    logging.getLogger("kopf").setLevel(logging.WARNING)
    try:
        return asyncio.run(Operator(settings).run())
    except (CredentialsError, ListenError) as error:
        logger.error("%s", error)  # noqa: TRY400 - the message says it all
        return 1


class Operator:
    """The parts, put together.

    Every task of ours is created before kopf starts: at its end, kopf cancels those that were created later.
    """

    def __init__(self, settings: OperatorSettings) -> None:
        """Put them together by `settings`; nothing works yet."""
        self._settings = settings
        self._metrics = Metrics()
        self._inventory = Inventory()
        self._queue: WorkQueue[Key] = WorkQueue(metrics=self._metrics)
        self._health = Health(inventory=self._inventory, metrics=self._metrics)
        self._stop = asyncio.Event()
        self._leading = asyncio.Event()
        self._listed = asyncio.Event()
        self._failed = False
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> int:
        """Work until SIGTERM or SIGINT, and return the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        settings = self._settings
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(
                serve_health(self._health, host=settings.health_host, port=settings.health_port)
            )
            kube = await stack.enter_async_context(
                connect(request_timeout=settings.request_timeout, metrics=self._metrics)
            )
            gateways = None
            if settings.gateway_service:
                service = Key(*settings.gateway_service.split("/"))
                gateways = await stack.enter_async_context(open_gateways(kube=kube, service=service))
            session = await stack.enter_async_context(aiohttp.ClientSession())
            stack.push_async_callback(self._cancel_tasks)
            self._start_tasks(kube, ProgressClient(session), gateways)
            if gateways:
                self.spawn("autoscaler", self._autoscale(kube, gateways))
            await _first(self._listed, self._stop)
            if not self._stop.is_set():
                await self._watch()
        if not self._failed:
            logger.info("Told to stop; everything has ended")
        return 1 if self._failed else 0

    def _start_tasks(self, kube: KubeClient, progress: ProgressClient, gateways: Gateways | None) -> None:
        settings = self._settings
        if settings.lease:
            lease = Lease(
                kube=kube,
                namespace=settings.lease_namespace,
                name=settings.lease_name,
                seconds=settings.lease_seconds,
            )
            self.spawn("lease", lease.hold(self._lead))
            # A replica that waits for the Lease does all that it should.
            self._health.ready.set()
        else:
            self._lead()
        resync = Resync(
            kube=kube,
            queue=self._queue,
            inventory=self._inventory,
            metrics=self._metrics,
            namespaces=settings.namespaces,
        )
        self.spawn("resync", self._resync(resync))
        reconciler = Reconciler(
            kube=kube,
            settings=settings,
            inventory=self._inventory,
            metrics=self._metrics,
            progress=progress,
            gateways=gateways,
        )
        for number in range(settings.workers):
            self.spawn(f"worker {number}", self._queue.work(reconciler.reconcile))

    async def _autoscale(self, kube: KubeClient, gateways: Gateways) -> None:
        await self._listed.wait()
        if self._settings.handover and self._settings.namespaces:
            logger.info(
                "Nodes and volumes are not read for some namespaces alone: a GPU may be freed where it is of no use"
            )
        broker = Broker(kube=kube, settings=self._settings, metrics=self._metrics)
        autoscaler = Autoscaler(
            kube=kube,
            gateways=gateways,
            inventory=self._inventory,
            metrics=self._metrics,
            window=self._settings.scale_down_seconds,
            broker=broker if self._settings.handover else None,
        )
        await autoscaler.run(seconds=self._settings.autoscale_seconds)

    def _lead(self) -> None:
        self._metrics.leads()
        self._leading.set()

    async def _resync(self, resync: Resync) -> None:
        await self._leading.wait()
        await resync.until_first()
        logger.info("The ImageModels are listed; watching")
        self._listed.set()
        await resync.for_ever(self._settings.resync_seconds)

    async def _watch(self) -> None:
        """Let kopf watch until it ends or is to stop; it takes over the signals itself."""
        operator = kopf.operator(
            registry=build_registry(queue=self._queue, inventory=self._inventory),
            settings=build_settings(request_timeout=self._settings.request_timeout),
            standalone=True,
            clusterwide=not self._settings.namespaces,
            namespaces=self._settings.namespaces,
            ready_flag=self._health.ready,
        )
        # Not by its stop_flag, which kopf goes on waiting for, for 5 s, when a signal has ended it.
        watching = asyncio.create_task(operator, name="kopf")
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        await asyncio.wait((watching, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        watching.cancel()
        try:
            with suppress(asyncio.CancelledError):
                await watching
        except Exception as error:
            logger.error("Watching failed; the process ends to start anew: %s", error)  # noqa: TRY400 - kopf's own trace
            self._failed = True

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have something work on for as long as the process lives, which ends with it."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        # None of them ends by itself, but the lease when it is lost: start anew rather than go on with a part.
        logger.error("The task %r ended; the process does too", task.get_name(), exc_info=task.exception())
        self._failed = True
        self._stop.set()
        # At once, and not when kopf has ended: another replica may lead by then.
        for other in self._tasks:
            other.cancel()

    async def _cancel_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError, Exception):
                await task


async def _first(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
