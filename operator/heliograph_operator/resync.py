"""The periodic full listing, which makes good whatever a watch has missed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from heliograph_operator.inventory import Inventory, Key, key_of
from heliograph_operator.kube import KubeApi, KubeError
from heliograph_operator.metrics import Metrics
from heliograph_operator.resources import IMAGE_MODELS, Resource
from heliograph_operator.workqueue import WorkQueue

logger = logging.getLogger(__name__)

_FIRST_RETRY_SECONDS = 1.0
_LAST_RETRY_SECONDS = 30.0


class Resync:
    """Lists the ImageModels and has each one reconciled."""

    def __init__(
        self,
        *,
        kube: KubeApi,
        queue: WorkQueue[Key],
        inventory: Inventory,
        metrics: Metrics,
        namespaces: tuple[str, ...],
    ) -> None:
        """List in `namespaces`, or everywhere when there are none."""
        self._kube = kube
        self._queue = queue
        self._inventory = inventory
        self._metrics = metrics
        self._namespaces = namespaces or (None,)

    async def once(self) -> None:
        """List once; raise `KubeError` when that fails."""
        now = asyncio.get_running_loop().time()
        for namespace in self._namespaces:
            since = self._inventory.events
            objects = await self._kube.list(IMAGE_MODELS, namespace)
            # What is gone is reconciled too, so that whatever is remembered of it goes by the one way there is.
            gone = self._inventory.take_stock(objects, namespace=namespace, now=now, since=since)
            for key in [*map(key_of, objects), *gone]:
                self._queue.add(key)
        self._metrics.resynced()

    async def until_first(self) -> None:
        """List until it succeeds for the first time: the CRD may come after the operator, as may its rights."""
        await _persist(self._wait_for_kind)
        await _persist(self.once)

    async def for_ever(self, seconds: float) -> None:
        """List every `seconds` until cancelled."""
        while True:
            await asyncio.sleep(seconds)
            await _persist(self.once)

    async def _wait_for_kind(self) -> None:
        # Discovery, not only the listing: kopf looks there once, when it starts, for what it is to watch.
        if not await self._kube.serves(IMAGE_MODELS):
            raise KubeError(404, _missing(IMAGE_MODELS))


async def _persist(step: Callable[[], Awaitable[None]]) -> None:
    delay = _FIRST_RETRY_SECONDS
    while True:
        try:
            return await step()
        except KubeError as error:
            logger.warning("Listing the ImageModels failed: %s; again in %.0f s", error.message, delay)
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LAST_RETRY_SECONDS)


def _missing(resource: Resource) -> str:
    group = resource.api_version.partition("/")[0]
    return f"the API server does not know {resource.plural}.{group}; install the CustomResourceDefinition"
