"""Hands the GPUs of idle models over to models that have requests and find none."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from datetime import UTC, datetime

from heliograph_api.errors import SpecError
from heliograph_api.manifest import ImageModel
from heliograph_operator.autoscale.decision import Demand
from heliograph_operator.autoscale.handover import Claim, Contender, choose_victims, claim_of
from heliograph_operator.autoscale.places import Places
from heliograph_operator.autoscale.rivals import target_of
from heliograph_operator.autoscale.subject import Subject, subject_of
from heliograph_operator.inventory import Key
from heliograph_operator.kube import ConflictError, KubeApi, KubeError, NotFoundError
from heliograph_operator.metrics import Metrics
from heliograph_operator.resources import HORIZONTAL_POD_AUTOSCALERS, IMAGE_MODELS, Object
from heliograph_operator.settings import OperatorSettings

logger = logging.getLogger(__name__)

_SETTLE_SECONDS = 20.0
"""From when GPUs were made free for a model until it may ask for more: pods end, and the scheduler places the next."""


class Broker:
    """Looks for models that wait for a GPU, and scales idle ones to zero for them.

    Whom it chooses is read anew before it is written, and the write holds only for what was read. It remembers for whom
    it has just made room, which can only delay the next hand-over.
    """

    def __init__(
        self,
        *,
        kube: KubeApi,
        settings: OperatorSettings,
        metrics: Metrics,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Write through `kube`; `clock` tells for how long a model has been ready."""
        self._kube = kube
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._served: dict[Key, float] = {}

    async def look(self, subjects: Mapping[Key, Subject], demands: Mapping[Key, Demand]) -> None:
        """Make room for each model that waits, the one of highest priority first."""
        now = asyncio.get_running_loop().time()
        self._served = {key: at for key, at in self._served.items() if now - at < _SETTLE_SECONDS}
        lacking = [key for key, subject in subjects.items() if subject.lacks_gpu and demands[key].load]
        waiting = [key for key in lacking if key not in self._served]
        if not waiting:
            return
        across = self._settings.handover_across_namespaces
        namespaces = {key.namespace for key in (subjects if across else waiting)}
        awake = [key for key in subjects if subjects[key].replicas and key.namespace in namespaces]
        try:
            places = await Places.read(self._kube, namespaces, sees_nodes=not self._settings.namespaces)
            contenders = await self._contenders(awake, demands, places)
            for key in sorted(waiting, key=lambda key: (-subjects[key].priority, key)):
                if key in contenders and contenders[key].is_waiting():
                    await self._make_room(contenders[key], contenders, places)
        except KubeError as error:
            logger.warning("No GPU is handed over: %s", error.message)

    async def _make_room(self, waiter: Contender, contenders: dict[Key, Contender], places: Places) -> None:
        pod = places.unplaced(waiter.key)
        told_to_end = places.told_to_end(waiter.key)
        if told_to_end and (self._clock() - told_to_end).total_seconds() < _SETTLE_SECONDS:
            return  # what an old replica of its own leaves is what it waits for
        # To ask where it may be placed takes requests of its own, which are for nothing where nobody can rest.
        if pod is None or not self._victims(waiter, contenders, None):
            return
        victims = self._victims(waiter, contenders, await places.open_to(pod))
        if victims:
            self._served[waiter.key] = asyncio.get_running_loop().time()
        for victim in victims:
            del contenders[victim.key]
            logger.info(
                "%s gives its %s to %s: it has been idle for %.0f s",
                victim.key,
                victim.claim.resource,
                waiter.key,
                victim.demand.idle_seconds,
            )
            await self._put_to_rest(victim)

    def _victims(
        self, waiter: Contender, contenders: Mapping[Key, Contender], open_nodes: Set[str] | None
    ) -> Sequence[Contender]:
        return choose_victims(
            waiter,
            contenders.values(),
            now=self._clock(),
            residence=self._settings.handover_residence_seconds,
            across_namespaces=self._settings.handover_across_namespaces,
            open_nodes=open_nodes,
        )

    async def _put_to_rest(self, victim: Contender) -> None:
        try:
            obj = await self._kube.get(IMAGE_MODELS, *victim.key)
            if subject_of(obj) == victim.subject:
                self._metrics.wrote(IMAGE_MODELS.kind, "scale")
                await self._kube.scale(IMAGE_MODELS, obj, 0)
                self._metrics.handed_over()
        except (ConflictError, NotFoundError):
            return  # it is another one by now; the next look is at that

    async def _contenders(
        self, keys: Sequence[Key], demands: Mapping[Key, Demand], places: Places
    ) -> dict[Key, Contender]:
        """Return the models that ask for GPUs, as they are now."""
        rivalled = await self._rivalled({key.namespace for key in keys})
        found: dict[Key, Contender] = {}
        for key in keys:
            try:
                obj = await self._kube.get(IMAGE_MODELS, *key)
            except NotFoundError:
                continue
            subject, claim = subject_of(obj), self._claim_of(obj)
            if subject and claim:
                found[key] = Contender(
                    key, subject, demands[key], claim, places.replicas(key), has_rival=key in rivalled
                )
        return found

    async def _rivalled(self, namespaces: Iterable[str]) -> set[Key | None]:
        """Return the models of some namespaces that a HorizontalPodAutoscaler scales."""
        lists = [await self._kube.list(HORIZONTAL_POD_AUTOSCALERS, namespace) for namespace in sorted(namespaces)]
        return {target_of(autoscaler) for autoscalers in lists for autoscaler in autoscalers}

    def _claim_of(self, obj: Object) -> Claim | None:
        try:
            return claim_of(ImageModel.from_object(obj), self._settings)
        except SpecError:
            return None
