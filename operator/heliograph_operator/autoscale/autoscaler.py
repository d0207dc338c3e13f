"""Gives each model that has `spec.serving.scaling` the size that its load asks for."""

import asyncio
import logging
from collections.abc import Sequence

from heliograph_api.load import GatewayLoad
from heliograph_operator.autoscale.broker import Broker
from heliograph_operator.autoscale.decision import Demand, wanted_replicas
from heliograph_operator.autoscale.gateways import Gateways
from heliograph_operator.autoscale.history import History
from heliograph_operator.autoscale.rivals import rivals_of
from heliograph_operator.autoscale.subject import Subject, subject_of
from heliograph_operator.inventory import Inventory, Key
from heliograph_operator.kube import ConflictError, KubeApi, KubeError, NotFoundError
from heliograph_operator.metrics import Metrics
from heliograph_operator.resources import HORIZONTAL_POD_AUTOSCALERS, IMAGE_MODELS

logger = logging.getLogger(__name__)

_WRITES_AT_ONCE = 8


class Autoscaler:
    """Looks at the load again and again, and writes `/scale` where a model should be larger or smaller.

    What the inventory remembers only says which models to look at. What is written is decided on the ImageModel as it
    is read at that moment, and holds only for that version: whoever writes in between wins. A request that a gateway
    takes in after it was asked is not lost: a replica that ends finishes what it has, and a gateway that finds none
    wakes the model again.
    """

    def __init__(
        self,
        *,
        kube: KubeApi,
        gateways: Gateways,
        inventory: Inventory,
        metrics: Metrics,
        window: float,
        broker: Broker | None = None,
    ) -> None:
        """Make the autoscaler.

        Args:
            kube: The API server.
            gateways: Who knows the load.
            inventory: Knows the models.
            metrics: Where writes are counted.
            window: Seconds for which the load must have been lower before a model shrinks.
            broker: Hands GPUs over; nobody does when it is None.
        """
        self._kube = kube
        self._gateways = gateways
        self._inventory = inventory
        self._metrics = metrics
        self._window = window
        self._broker = broker
        self._histories: dict[Key, History] = {}
        self._writes = asyncio.Semaphore(_WRITES_AT_ONCE)

    async def run(self, *, seconds: float) -> None:
        """Look every `seconds` until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(seconds)

    async def look(self) -> None:
        """Look at every model once, and scale those that need it."""
        subjects = self._inventory.subjects()
        gateways = await self._gateways.read() if subjects else []
        demands = self._demands(subjects, gateways)
        await asyncio.gather(
            *(
                self._scale(key, demands[key])
                for key, subject in subjects.items()
                if wanted_replicas(subject, demands[key]) != subject.replicas
            )
        )
        if self._broker is not None:
            await self._broker.look(subjects, demands)

    def _demands(self, subjects: dict[Key, Subject], gateways: Sequence[GatewayLoad | None]) -> dict[Key, Demand]:
        now = asyncio.get_running_loop().time()
        self._histories = {
            key: self._histories.get(key) or History(subject, now=now, window=self._window)
            for key, subject in subjects.items()
        }
        return {
            key: self._histories[key].demand(str(key), subject, gateways, now=now) for key, subject in subjects.items()
        }

    async def _scale(self, key: Key, demand: Demand) -> None:
        async with self._writes:
            try:
                await self._write(key, demand)
            except (ConflictError, NotFoundError):
                # Somebody else was faster; the next look is at what they made of it.
                return
            except KubeError as error:
                logger.warning("%s is not scaled: %s", key, error.message)

    async def _write(self, key: Key, demand: Demand) -> None:
        obj = await self._kube.get(IMAGE_MODELS, *key)
        subject = subject_of(obj)
        if subject is None:
            return
        wanted = wanted_replicas(subject, demand)
        if wanted == subject.replicas:
            return
        autoscalers = await self._kube.list(HORIZONTAL_POD_AUTOSCALERS, key.namespace)
        if rivals_of(key, autoscalers):
            return
        logger.info(
            "%s: %d replicas instead of %d: %d requests, the last one %.0f s ago",
            key,
            wanted,
            subject.replicas,
            demand.load,
            demand.idle_seconds,
        )
        self._metrics.wrote(IMAGE_MODELS.kind, "scale")
        await self._kube.scale(IMAGE_MODELS, obj, wanted)
