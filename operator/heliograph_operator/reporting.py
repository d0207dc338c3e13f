"""Tells what a reconciliation saw: by the status, by Events where a condition changed, and to the metrics."""

import logging
import socket
from collections.abc import Callable
from datetime import datetime

from heliograph_operator.inventory import Inventory, key_of
from heliograph_operator.kube import KubeApi, KubeError
from heliograph_operator.metrics import Metrics
from heliograph_operator.observation import Observation
from heliograph_operator.plan.event import plan_events
from heliograph_operator.resources import EVENTS, IMAGE_MODELS, Object
from heliograph_operator.status import plan_status, status_changes

logger = logging.getLogger(__name__)

_MAX_INSTANCE = 128


class Reporter:
    """The one writer of statuses and Events."""

    def __init__(self, *, kube: KubeApi, inventory: Inventory, metrics: Metrics, clock: Callable[[], datetime]) -> None:
        """Write through `kube`; `clock` dates conditions and Events."""
        self._kube = kube
        self._inventory = inventory
        self._metrics = metrics
        self._clock = clock
        self._instance = socket.gethostname()[:_MAX_INSTANCE]

    async def report(self, seen: Observation) -> None:
        """Write the status if it differs, and Events for what changed in it.

        Raises:
            KubeError: The status cannot be written.
        """
        now = self._clock()
        status = plan_status(seen, now=now)
        conditions = status["conditions"]
        verdicts = {condition["type"]: (condition["status"], condition["reason"]) for condition in conditions}
        self._inventory.set_conditions(key_of(seen.obj), verdicts)
        if changes := status_changes(status, seen.obj):
            self._metrics.wrote(IMAGE_MODELS.kind, "status")
            written = await self._kube.patch_status(IMAGE_MODELS, seen.obj, changes)
            self._inventory.wrote(key_of(seen.obj), written)
            await self._announce(seen.obj, conditions, now=now)

    async def _announce(self, obj: Object, conditions: list[Object], *, now: datetime) -> None:
        # An Event that cannot be written is no reason to do anything again.
        for event in plan_events(obj, conditions, now=now, instance=self._instance):
            self._metrics.wrote(EVENTS.kind, "create")
            try:
                await self._kube.create(EVENTS, event)
            except KubeError as error:
                logger.warning("%s: the Event %s is lost: %s", key_of(obj), event["reason"], error.message)
                return
