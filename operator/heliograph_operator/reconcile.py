"""Brings what there is in line with one ImageModel, and reports on it.

Nothing is remembered from one reconciliation to the next: each reads the ImageModel and its children anew, and writes
only what differs. Doing it twice, in whatever order, ends in the same state.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from heliograph_api import naming
from heliograph_api.advice import spec_warnings
from heliograph_api.errors import SpecError
from heliograph_api.manifest import ImageModel
from heliograph_operator.drift import needs_apply
from heliograph_operator.inventory import Inventory, Key, key_of, target_names
from heliograph_operator.kube import ConflictError, ForbiddenError, InvalidError, KubeApi, KubeError, NotFoundError
from heliograph_operator.metrics import Metrics
from heliograph_operator.observation import Observation, Rollout
from heliograph_operator.ownership import Owner, owner_of
from heliograph_operator.plan.children import plan
from heliograph_operator.resources import CHILD_RESOURCES, DEPLOYMENTS, IMAGE_MODELS, Object, Resource
from heliograph_operator.settings import OperatorSettings
from heliograph_operator.status import plan_status, status_changes
from heliograph_operator.workqueue import Retry

logger = logging.getLogger(__name__)

_REMOVAL_SECONDS = 2.0
_RESOURCES = {(resource.api_version, resource.kind): resource for resource in CHILD_RESOURCES}


@dataclass
class _Settled:
    """What became of the planned children."""

    deployment: Object | None = None
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
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Write through `kube`; `clock` dates the conditions."""
        self._kube = kube
        self._settings = settings
        self._inventory = inventory
        self._metrics = metrics
        self._clock = clock

    async def reconcile(self, key: Key) -> None:
        """Bring the children and the status of an ImageModel up to date.

        Raises:
            Retry: Something stands in the way that may pass.
        """
        try:
            obj = await self._kube.get(IMAGE_MODELS, *key)
        except NotFoundError:
            self._inventory.forget(key)
            return
        except KubeError as error:
            raise Retry(error.message) from error
        if obj["metadata"].get("deletionTimestamp"):
            # Garbage collection removes the children; to make them anew would only keep it busy.
            return
        try:
            seen = await self._converge(obj)
            await self._report(seen)
        except KubeError as error:
            raise Retry(error.message) from error
        if seen.awaits_removal:
            raise Retry("children of a deleted ImageModel are still there", after=_REMOVAL_SECONDS)
        if seen.refusals or seen.conflicts:
            raise Retry("; ".join([*seen.refusals, *(f"{name} is somebody else's" for name in seen.conflicts)]))

    async def _converge(self, obj: Object) -> Observation:
        try:
            model = ImageModel.from_object(obj)
            planned = plan(model=model, settings=self._settings)
        except SpecError as problem:
            children = await self._children(obj, [DEPLOYMENTS])
            return Observation(obj=obj, problem=problem, rollout=_rollout(_owned(children, obj)))
        children = await self._children(obj, CHILD_RESOURCES)
        settled = await self._settle(obj, planned.children, children)
        await self._prune(planned.children, _owned(children, obj))
        return Observation(
            obj=obj,
            model=model,
            plan=planned,
            warnings=[*planned.warnings, *spec_warnings(model.raw_spec, model.spec)],
            rollout=Rollout.of(settled.deployment) if settled.deployment else None,
            conflicts=settled.conflicts,
            refusals=settled.refusals,
            awaits_removal=settled.awaits_removal,
            target_exists=await self._target_exists(model),
        )

    async def _children(self, obj: Object, resources: Iterable[Resource]) -> list[Object]:
        """Return what bears the labels of the model's children, whosever it is."""
        metadata = obj["metadata"]
        labels = {
            naming.MANAGED_BY_LABEL: naming.MANAGED_BY,
            naming.MODEL_LABEL: naming.child_name(metadata["name"]),
        }
        found: list[Object] = []
        for resource in resources:
            found += await self._kube.list(resource, metadata["namespace"], labels=labels)
        return found

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
        return settled

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
        if observed["metadata"].get("deletionTimestamp") or not needs_apply(child, observed):
            return observed
        return await self._apply(resource, child)

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

    async def _prune(self, planned: list[Object], owned: list[Object]) -> None:
        wanted = {_identity(child) for child in planned}
        for child in owned:
            if _identity(child) in wanted or child["metadata"].get("deletionTimestamp"):
                continue
            self._metrics.wrote(child["kind"], "delete")
            logger.info("%s: deleting %s", child["metadata"]["namespace"], _title(child))
            try:
                await self._kube.delete(_resource(child), child)
            except (NotFoundError, ConflictError):
                # Gone, or another object by now: there is nothing left to prune.
                continue

    async def _target_exists(self, model: ImageModel) -> bool:
        if not model.spec.alias:
            return False
        for namespace in (model.namespace, *(self._settings.namespaces or (None,))):
            models = await self._kube.list(IMAGE_MODELS, namespace)
            standing = (obj for obj in models if not obj["metadata"].get("deletionTimestamp"))
            if any(model.spec.alias in target_names(obj) for obj in standing):
                return True
        return False

    async def _report(self, seen: Observation) -> None:
        status = plan_status(seen, now=self._clock())
        ready = next(condition for condition in status["conditions"] if condition["type"] == "Ready")
        self._inventory.set_ready(key_of(seen.obj), ready["status"])
        if changes := status_changes(status, seen.obj):
            self._metrics.wrote(IMAGE_MODELS.kind, "status")
            await self._kube.patch_status(IMAGE_MODELS, seen.obj, changes)


def _owned(children: Iterable[Object], obj: Object) -> list[Object]:
    name, uid = obj["metadata"]["name"], obj["metadata"]["uid"]
    return [child for child in children if owner_of(child, name=name, uid=uid) is Owner.MODEL]


def _rollout(children: Iterable[Object]) -> Rollout | None:
    return next((Rollout.of(child) for child in children if child["kind"] == DEPLOYMENTS.kind), None)


def _identity(obj: Object) -> tuple[str, str]:
    return obj["kind"], obj["metadata"]["name"]


def _resource(child: Object) -> Resource:
    return _RESOURCES[child["apiVersion"], child["kind"]]


def _title(child: Object) -> str:
    return f"{child['kind']} {child['metadata']['name']}"
