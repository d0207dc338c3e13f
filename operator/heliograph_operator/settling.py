"""Makes the children of an ImageModel what its plan says, each by one write at most."""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from heliograph_api import naming
from heliograph_api.manifest import ImageModel
from heliograph_operator.diagnosis.refusals import child_refused, removal_refused
from heliograph_operator.diagnosis.trouble import Trouble
from heliograph_operator.drift import needs_apply, with_plan_hash
from heliograph_operator.fetching import has_succeeded, mounts
from heliograph_operator.inventory import key_of
from heliograph_operator.kube import ConflictError, ForbiddenError, InvalidError, KubeApi, KubeError, NotFoundError
from heliograph_operator.metrics import Metrics
from heliograph_operator.observation import Rollout
from heliograph_operator.ownership import Owner, owner_of
from heliograph_operator.plan.children import Plan
from heliograph_operator.plan.claim import at_present_size
from heliograph_operator.plan.deployment import resized
from heliograph_operator.resources import (
    CHILD_RESOURCES,
    CLAIMS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    IMAGE_MODELS,
    JOBS,
    NETWORK_POLICIES,
    Object,
    Resource,
)
from heliograph_operator.sharing import SharedClaims
from heliograph_operator.workqueue import Retry

logger = logging.getLogger(__name__)

_BEFORE_PODS = {NETWORK_POLICIES.kind, CONFIG_MAPS.kind}
_WITH_PODS = {JOBS.kind, DEPLOYMENTS.kind}
_RESOURCES = {(resource.api_version, resource.kind): resource for resource in CHILD_RESOURCES}


@dataclass
class Settled:
    """What became of the planned children.

    Attributes:
        deployment: The Deployment as it is now, if there is one.
        job: The Job that fetches the weights, if there is one.
        conflicts: Children whose names somebody else's objects bear, as `Kind name`.
        refusals: Why the API server did not take children.
        leftovers: Why what is not planned could not be removed.
        awaits_removal: Whether children of a deleted ImageModel of the same name are still being removed.
        keeps_all: Whether nothing may be deleted but Jobs that fetch other weights: the claim for those that are wanted
            can't be what it should be.
        bars_pods: Whether pods may not be made or changed: what they must find or be fenced in by is not as planned.
        is_unfenced: Whether the NetworkPolicy of the pods that serve is not there at all.
    """

    deployment: Object | None = None
    job: Object | None = None
    conflicts: list[str] = field(default_factory=list)
    refusals: list[Trouble] = field(default_factory=list)
    leftovers: list[Trouble] = field(default_factory=list)
    awaits_removal: bool = False
    keeps_all: bool = False
    bars_pods: bool = False
    is_unfenced: bool = False


class Settler:
    """Writes children."""

    def __init__(
        self, *, kube: KubeApi, metrics: Metrics, shared: SharedClaims, is_due: Callable[[Object], bool]
    ) -> None:
        """Make a settler.

        Args:
            kube: Where to write.
            metrics: Where writes are counted.
            shared: Writes to the claims that models share.
            is_due: Tells of a Job that may have given up whether it is time for another.
        """
        self._kube = kube
        self._metrics = metrics
        self._shared = shared
        self._is_due = is_due

    async def settle(self, obj: Object, planned: list[Object], children: list[Object], settled: Settled) -> None:
        """Make each planned child what it should be.

        Args:
            obj: The ImageModel as it was read.
            planned: What should exist.
            children: What bears the labels of the model's children, whosever it is.
            settled: Told what becomes of them.

        Raises:
            KubeError: The API server does not answer.
            Retry: The ImageModel is being deleted.
        """
        observed = {_identity(child): child for child in children}
        has_volume = True
        for child in planned:
            if child["kind"] == JOBS.kind and not has_volume:
                continue  # it would write into a claim that is somebody else's
            settle = self._leave if settled.bars_pods and child["kind"] in _WITH_PODS else self._settle_or_tell
            present = await settle(obj, child, observed.get(_identity(child)), settled)
            if child["kind"] == CLAIMS.kind and present is None:
                has_volume, settled.keeps_all = False, True
            if child["kind"] == DEPLOYMENTS.kind:
                settled.deployment = present
            elif child["kind"] == JOBS.kind:
                settled.job = present

    async def share(self, model: ImageModel, claim: Object, settled: Settled) -> bool:
        """Make sure of a model's part of the claim that models share; return whether it can be fetched into."""
        try:
            owner = await self._shared.settle(model, claim)
        except (InvalidError, ForbiddenError) as error:
            settled.refusals.append(_refused(claim, error))
            try:
                owner = await self._shared.settle(model, claim, grows=False)
            except (InvalidError, ForbiddenError):
                settled.keeps_all = True
                return False
        if owner is Owner.OTHER:
            settled.conflicts.append(_title(claim))
        settled.awaits_removal = owner is Owner.PREDECESSOR
        settled.keeps_all = owner is not Owner.MODEL
        return owner is Owner.MODEL

    async def resize(self, deployment: Object, settled: Settled, *, replicas: int) -> Object:
        """Give a Deployment its size whose template has to wait, and return it; without a fence it may shrink alone."""
        present: int = deployment["spec"].get("replicas", 1)
        wanted = min(replicas, present) if settled.is_unfenced else replicas
        if wanted == present or deployment["metadata"].get("deletionTimestamp"):
            return deployment
        try:
            return await self._apply(DEPLOYMENTS, resized(deployment, replicas=wanted))
        except (InvalidError, ForbiddenError) as error:
            if (refused := _refused(deployment, error)) not in settled.refusals:
                settled.refusals.append(refused)
            return deployment

    async def prune(self, planned: Plan, owned: list[Object], settled: Settled) -> None:
        """Delete what is the model's and not planned, once nothing needs it; what is refused keeps nothing else."""
        wanted = {_identity(child) for child in planned.children}
        if planned.weights and planned.weights.by_job and settled.keeps_all:
            # It may have succeeded, which is written down nowhere else so far.
            wanted.add((JOBS.kind, planned.weights.by_job))
        pods_stay = False
        # What pods find and are fenced in by is made before what makes them, and goes after it.
        for child in reversed(owned):
            is_going = bool(child["metadata"].get("deletionTimestamp"))
            is_kept = settled.keeps_all and child["kind"] != JOBS.kind
            is_kept |= pods_stay and child["kind"] in _BEFORE_PODS
            is_needed = is_kept or planned.leaves(child) or _may_be_mounted(child, settled.deployment)
            if _identity(child) not in wanted and not is_going and not is_needed:
                is_removed = await self._remove(child, settled)
                pods_stay |= child["kind"] in _WITH_PODS and not is_removed

    async def _remove(self, child: Object, settled: Settled) -> bool:
        """Delete a child, or take note of why that is refused; return whether it is not."""
        try:
            await self._delete(child)
        except (InvalidError, ForbiddenError) as error:
            settled.leftovers.append(removal_refused(error.message, what=_title(child)))
            return False
        return True

    async def _settle_or_tell(
        self, obj: Object, child: Object, observed: Object | None, settled: Settled
    ) -> Object | None:
        """Make one child what it should be, take note of why that is refused, and return the child if it is there."""
        is_refused = False
        try:
            present = await self._settle_child(obj, child, observed, settled)
        except (InvalidError, ForbiddenError) as error:
            is_refused, present = True, observed
            settled.refusals.append(_refused(child, error))
            if present is not None and child["kind"] == CLAIMS.kind:
                settled.keeps_all |= not await self._record(child, present)
            elif child["kind"] == DEPLOYMENTS.kind:
                present = await self._leave(obj, child, observed, settled)
        if child["kind"] in _BEFORE_PODS and (is_refused or present is None):
            settled.bars_pods = True
            # The fetchers have a fence of their own.
            fence = (NETWORK_POLICIES.kind, naming.child_name(obj["metadata"]["name"]))
            settled.is_unfenced |= _identity(child) == fence and present is None
        return present

    async def _leave(self, obj: Object, child: Object, observed: Object | None, settled: Settled) -> Object | None:
        """Change nothing but the size of a child that makes pods, and return it if there is one."""
        name, uid = obj["metadata"]["name"], obj["metadata"]["uid"]
        if observed is None or owner_of(observed, name=name, uid=uid) is not Owner.MODEL:
            return None
        if child["kind"] != DEPLOYMENTS.kind:
            return observed
        return await self.resize(observed, settled, replicas=child["spec"]["replicas"])

    async def _settle_child(
        self, obj: Object, child: Object, observed: Object | None, settled: Settled
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
        if resource == JOBS and (needs_apply(child, observed) or has_succeeded(observed) or self._is_due(observed)):
            # A Job can't be changed, nor started again; the event of its deletion brings the next one. What is planned
            # though it has succeeded is wanted anew: its claim has gone since.
            await self._delete(observed)
            return None
        bound = _of_same(child, observed) if resource == CLAIMS else child
        return await self._apply(resource, bound) if needs_apply(child, observed) else observed

    async def _record(self, claim: Object, present: Object) -> bool:
        """Write what a claim bears beside its size, where that is why it was refused; return whether that is there.

        Not every class can grow, and no claim without a volume.
        """
        kept = with_plan_hash(at_present_size(claim, present))
        try:
            if needs_apply(kept, present):
                await self._apply(CLAIMS, _of_same(kept, present))
        except (InvalidError, ForbiddenError):
            return False
        return True

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

    async def _delete(self, child: Object) -> None:
        self._metrics.wrote(child["kind"], "delete")
        logger.info("%s: deleting %s", child["metadata"]["namespace"], _title(child))
        # Gone, or another object by now: then there is nothing left to delete.
        with suppress(NotFoundError, ConflictError):
            await self._kube.delete(_resource(child), child)


def _may_be_mounted(child: Object, deployment: Object | None) -> bool:
    """Return whether a child is a claim that pods of a Deployment have, or may be given once more in its rollout."""
    if child["kind"] != CLAIMS.kind or deployment is None:
        return False
    is_mounted = bool(mounts(deployment["spec"]["template"]["spec"], child["metadata"]["name"]))
    return is_mounted or not Rollout.of(deployment).is_complete


def _of_same(claim: Object, observed: Object) -> Object:
    """Return a planned claim that is not made anew should the observed one be gone: what it records would be too."""
    return {**claim, "metadata": {**claim["metadata"], "uid": observed["metadata"]["uid"]}}


def _identity(obj: Object) -> tuple[str, str]:
    return obj["kind"], obj["metadata"]["name"]


def _resource(child: Object) -> Resource:
    return _RESOURCES[child["apiVersion"], child["kind"]]


def _refused(child: Object, error: KubeError) -> Trouble:
    found = child_refused(error.message, kind=child["kind"], name=child["metadata"]["name"])
    if child["kind"] not in _BEFORE_PODS:
        return found
    return found._replace(message=f"{found.message} No pod is made or changed before that.")


def _title(child: Object) -> str:
    return f"{child['kind']} {child['metadata']['name']}"
