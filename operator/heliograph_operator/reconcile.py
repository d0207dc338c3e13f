"""Brings what there is in line with one ImageModel, and reports on it.

Nothing is remembered from one reconciliation to the next: each reads the ImageModel and its children anew, and writes
only what differs. Doing it twice, in whatever order, ends in the same state.
"""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from heliograph_api.advice import spec_warnings
from heliograph_api.errors import SpecError
from heliograph_api.manifest import ImageModel
from heliograph_operator.autoscale.rivals import rivals_of
from heliograph_operator.diagnosis.runtime import runtime_trouble
from heliograph_operator.drift import needs_apply
from heliograph_operator.examination import LOOK_SECONDS, Diagnosis, Examiner
from heliograph_operator.fetching import AsksProgress, fetch_job, fetched_by, has_succeeded
from heliograph_operator.inventory import Inventory, Key, key_of, target_names
from heliograph_operator.kube import ConflictError, ForbiddenError, InvalidError, KubeApi, KubeError, NotFoundError
from heliograph_operator.metrics import Metrics
from heliograph_operator.observation import Observation, Rollout
from heliograph_operator.ownership import Owner, owner_of
from heliograph_operator.plan.children import Plan, plan
from heliograph_operator.plan.deployment import resized, wanted_replicas
from heliograph_operator.plan.fetched import Fetched
from heliograph_operator.reporting import Reporter
from heliograph_operator.resources import (
    CHILD_RESOURCES,
    DEPLOYMENTS,
    HORIZONTAL_POD_AUTOSCALERS,
    IMAGE_MODELS,
    JOBS,
    Object,
    Resource,
)
from heliograph_operator.rollouts import AsksLoad, is_blocked, is_idle
from heliograph_operator.settings import OperatorSettings
from heliograph_operator.sharing import SharedClaims
from heliograph_operator.workqueue import Retry

logger = logging.getLogger(__name__)

_REMOVAL_SECONDS = 2.0
_RESOURCES = {(resource.api_version, resource.kind): resource for resource in CHILD_RESOURCES}


@dataclass
class _Settled:
    """What became of the planned children."""

    deployment: Object | None = None
    job: Object | None = None
    conflicts: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    awaits_removal: bool = False


class Reconciler:
    """Reconciles ImageModels, one key at a time."""

    def __init__(
        self,
        *,
        kube: KubeApi,
        settings: OperatorSettings,
        inventory: Inventory,
        metrics: Metrics,
        progress: AsksProgress,
        gateways: AsksLoad | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Write through `kube`, ask fetchers by `progress` and for the load by `gateways`; `clock` dates conditions."""
        self._kube = kube
        self._gateways = gateways
        self._settings = settings
        self._inventory = inventory
        self._metrics = metrics
        self._examiner = Examiner(kube=kube, progress=progress, retry_seconds=settings.fetch_retry_seconds, clock=clock)
        self._shared = SharedClaims(kube=kube, settings=settings, metrics=metrics)
        self._reporter = Reporter(kube=kube, inventory=inventory, metrics=metrics, clock=clock)

    async def reconcile(self, key: Key) -> float | None:
        """Bring the children and the status of an ImageModel up to date.

        Returns:
            Seconds after which to look again though nothing may have happened; None for what events tell.

        Raises:
            Retry: Something stands in the way that may pass.
        """
        try:
            obj = await self._kube.get(IMAGE_MODELS, *key)
        except NotFoundError:
            self._inventory.forget(key)
            return None
        except KubeError as error:
            raise Retry(error.message) from error
        if obj["metadata"].get("deletionTimestamp"):
            # Garbage collection removes the children; to make them anew would only keep it busy.
            return None
        try:
            seen = await self._converge(obj)
            await self._reporter.report(seen)
        except KubeError as error:
            raise Retry(error.message) from error
        if seen.awaits_removal:
            raise Retry("children of a deleted ImageModel are still there", after=_REMOVAL_SECONDS)
        if seen.refusals or seen.conflicts:
            raise Retry("; ".join([*seen.refusals, *(f"{name} is somebody else's" for name in seen.conflicts)]))
        return seen.again

    async def _converge(self, obj: Object) -> Observation:
        children = await self._examiner.children(obj, CHILD_RESOURCES)
        owned = _owned(children, obj)
        try:
            model = ImageModel.from_object(obj)
            planned = await self._plan(obj, model, owned)
            makes_room = self._makes_room(model)
            if makes_room and await self._is_stuck_idle(obj, owned):
                planned = planned.in_place()
        except SpecError as problem:
            deployment = _deployment(owned)
            return Observation(obj=obj, problem=problem, rollout=Rollout.of(deployment) if deployment else None)
        settled = await self._settle(obj, planned.children, children)
        if planned.shared is not None:
            await self._share(model, planned.shared, settled)
        await self._prune(planned, owned)
        if planned.awaits_weights:
            settled.deployment = await self._resize(_deployment(owned), replicas=wanted_replicas(model=model))
        rollout = Rollout.of(settled.deployment) if settled.deployment else None
        diagnosis = Diagnosis()
        if planned.engine is not None:
            diagnosis = await self._examiner.diagnose(obj, deployment=settled.deployment, job=settled.job)
        return Observation(
            obj=obj,
            model=model,
            plan=planned,
            warnings=[*planned.warnings, *spec_warnings(model.raw_spec, model.spec)],
            rollout=rollout,
            conflicts=settled.conflicts,
            refusals=settled.refusals,
            trouble=diagnosis.trouble,
            fetch_trouble=diagnosis.fetch_trouble,
            progress=diagnosis.progress,
            again=diagnosis.again or (LOOK_SECONDS if makes_room and is_blocked(rollout, diagnosis.trouble) else None),
            makes_room=makes_room,
            rivals=await self._rivals(model),
            awaits_removal=settled.awaits_removal,
            target_exists=await self._target_exists(model),
        )

    def _makes_room(self, model: ImageModel) -> bool:
        return self._gateways is not None and (model.spec.serving.rollout or self._settings.rollout) == "replace"

    async def _is_stuck_idle(self, obj: Object, owned: list[Object]) -> bool:
        """Return whether a rollout has no room for new pods while no request needs the old ones."""
        deployment = _deployment(owned)
        if self._gateways is None or deployment is None or Rollout.of(deployment).is_complete:
            return False
        _, runtimes = await self._examiner.pods(obj)
        if not is_blocked(Rollout.of(deployment), runtime_trouble(deployment, runtimes)):
            return False
        return is_idle(str(key_of(obj)), await self._gateways.read())

    async def _rivals(self, model: ImageModel) -> list[str]:
        if model.spec.serving.scaling is None:
            return []
        autoscalers = await self._kube.list(HORIZONTAL_POD_AUTOSCALERS, model.namespace)
        return rivals_of(Key(model.namespace, model.name), autoscalers)

    async def _plan(self, obj: Object, model: ImageModel, owned: list[Object]) -> Plan:
        """Return the plan, with the weights that a Job has fetched by now.

        Raises:
            SpecError: See `plan`.
        """
        planned = plan(model=model, settings=self._settings, record=Fetched.of(owned))
        if planned.shared is not None:
            record, neighbours = await self._shared.read(model)
            planned = plan(model=model, settings=self._settings, record=record, neighbours=neighbours)
        folder = planned.weights.by_job if planned.weights else None
        job = fetch_job(owned, folder) if folder and not planned.fetched else None
        if folder is None or job is None or not has_succeeded(job):
            return planned
        fetchers, _ = await self._examiner.pods(obj)
        return plan(model=model, settings=self._settings, record=fetched_by(folder, fetchers))

    async def _resize(self, deployment: Object | None, *, replicas: int) -> Object | None:
        """Give a Deployment that waits for other weights its size, and return it."""
        if deployment is None or deployment["spec"].get("replicas") == replicas:
            return deployment
        return await self._apply(DEPLOYMENTS, resized(deployment, replicas=replicas))

    async def _settle(self, obj: Object, planned: list[Object], children: list[Object]) -> _Settled:
        settled = _Settled()
        observed = {_identity(child): child for child in children}
        for child in planned:
            try:
                present = await self._settle_child(obj, child, observed.get(_identity(child)), settled)
            except (InvalidError, ForbiddenError) as error:
                settled.refusals.append(f"The API server refuses {_title(child)}: {error.message}")
                present = observed.get(_identity(child))
            if child["kind"] == DEPLOYMENTS.kind:
                settled.deployment = present
            elif child["kind"] == JOBS.kind:
                settled.job = present
        return settled

    async def _share(self, model: ImageModel, claim: Object, settled: _Settled) -> None:
        try:
            if not await self._shared.settle(model, claim):
                settled.conflicts.append(_title(claim))
        except (InvalidError, ForbiddenError) as error:
            settled.refusals.append(f"The API server refuses {_title(claim)}: {error.message}")

    async def _settle_child(
        self, obj: Object, child: Object, observed: Object | None, settled: _Settled
    ) -> Object | None:
        """Make one child what it should be and return it, or None where it cannot be ours."""
        resource, metadata = _resource(child), obj["metadata"]
        if observed is None:
            observed = await self._find(resource, child)
        if observed is None:
            # Without force, an object that somebody else made in this moment is a conflict instead of a prey.
            return await self._apply(resource, child, force=False)
        match owner_of(observed, name=metadata["name"], uid=metadata["uid"]):
            case Owner.OTHER:
                settled.conflicts.append(_title(child))
                return None
            case Owner.PREDECESSOR:
                settled.awaits_removal = True
                return None
            case Owner.NOBODY:
                await self._check_alive(obj)
            case Owner.MODEL:
                pass
        if observed["metadata"].get("deletionTimestamp"):
            return observed
        if resource == JOBS and (needs_apply(child, observed) or self._examiner.retry_seconds(observed) == 0):
            # A Job can't be changed, nor started again; the event of its deletion brings the next one.
            await self._delete(observed)
            return None
        return await self._apply(resource, child) if needs_apply(child, observed) else observed

    async def _check_alive(self, obj: Object) -> None:
        """Raise `Retry` when the ImageModel has been deleted since it was read.

        A deletion that leaves the children behind takes the owner off them first. To adopt them for the owner that is
        going would have them collected with it.
        """
        now = await self._kube.get(IMAGE_MODELS, *key_of(obj))
        if now["metadata"]["uid"] != obj["metadata"]["uid"] or now["metadata"].get("deletionTimestamp"):
            raise Retry("the ImageModel is being deleted")

    async def _find(self, resource: Resource, child: Object) -> Object | None:
        try:
            return await self._kube.get(resource, child["metadata"]["namespace"], child["metadata"]["name"])
        except NotFoundError:
            return None

    async def _apply(self, resource: Resource, child: Object, *, force: bool = True) -> Object:
        self._metrics.wrote(resource.kind, "apply")
        logger.info("%s: applying %s", child["metadata"]["namespace"], _title(child))
        return await self._kube.apply(resource, child, force=force)

    async def _prune(self, planned: Plan, owned: list[Object]) -> None:
        wanted = {_identity(child) for child in planned.children}
        for child in owned:
            is_going = bool(child["metadata"].get("deletionTimestamp"))
            if _identity(child) not in wanted and not is_going and not planned.leaves(child):
                await self._delete(child)

    async def _delete(self, child: Object) -> None:
        self._metrics.wrote(child["kind"], "delete")
        logger.info("%s: deleting %s", child["metadata"]["namespace"], _title(child))
        # Gone, or another object by now: then there is nothing left to delete.
        with suppress(NotFoundError, ConflictError):
            await self._kube.delete(_resource(child), child)

    async def _target_exists(self, model: ImageModel) -> bool:
        if not model.spec.alias:
            return False
        for namespace in (model.namespace, *(self._settings.namespaces or (None,))):
            models = await self._kube.list(IMAGE_MODELS, namespace)
            standing = (obj for obj in models if not obj["metadata"].get("deletionTimestamp"))
            if any(model.spec.alias in target_names(obj) for obj in standing):
                return True
        return False


def _owned(children: Iterable[Object], obj: Object) -> list[Object]:
    name, uid = obj["metadata"]["name"], obj["metadata"]["uid"]
    return [child for child in children if owner_of(child, name=name, uid=uid) is Owner.MODEL]


def _deployment(children: Iterable[Object]) -> Object | None:
    return next((child for child in children if child["kind"] == DEPLOYMENTS.kind), None)


def _identity(obj: Object) -> tuple[str, str]:
    return obj["kind"], obj["metadata"]["name"]


def _resource(child: Object) -> Resource:
    return _RESOURCES[child["apiVersion"], child["kind"]]


def _title(child: Object) -> str:
    return f"{child['kind']} {child['metadata']['name']}"
