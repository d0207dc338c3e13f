"""Makes the children of an ImageModel what its plan says, each by one write at most."""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from heliograph_api.manifest import ImageModel
from heliograph_operator.diagnosis.refusals import child_refused
from heliograph_operator.diagnosis.trouble import Trouble
from heliograph_operator.drift import needs_apply
from heliograph_operator.inventory import key_of
from heliograph_operator.kube import ConflictError, ForbiddenError, InvalidError, KubeApi, KubeError, NotFoundError
from heliograph_operator.metrics import Metrics
from heliograph_operator.ownership import Owner, owner_of
from heliograph_operator.plan.children import Plan
from heliograph_operator.plan.deployment import resized
from heliograph_operator.resources import CHILD_RESOURCES, DEPLOYMENTS, IMAGE_MODELS, JOBS, Object, Resource
from heliograph_operator.sharing import SharedClaims
from heliograph_operator.workqueue import Retry

logger = logging.getLogger(__name__)

_RESOURCES = {(resource.api_version, resource.kind): resource for resource in CHILD_RESOURCES}


@dataclass
class Settled:
    """What became of the planned children.

    Attributes:
        deployment: The Deployment as it is now, if there is one.
        job: The Job that fetches the weights, if there is one.
        conflicts: Children whose names somebody else's objects bear, as `Kind name`.
        refusals: Why the API server did not take children.
        awaits_removal: Whether children of a deleted ImageModel of the same name are still being removed.
    """

    deployment: Object | None = None
    job: Object | None = None
    conflicts: list[str] = field(default_factory=list)
    refusals: list[Trouble] = field(default_factory=list)
    awaits_removal: bool = False


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
        for child in planned:
            try:
                present = await self._settle_child(obj, child, observed.get(_identity(child)), settled)
            except (InvalidError, ForbiddenError) as error:
                settled.refusals.append(_refused(child, error))
                present = observed.get(_identity(child))
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
            return False
        if owner is Owner.OTHER:
            settled.conflicts.append(_title(claim))
        settled.awaits_removal = owner is Owner.PREDECESSOR
        return owner is Owner.MODEL

    async def resize(self, deployment: Object | None, *, replicas: int) -> Object | None:
        """Give a Deployment that waits for other weights its size, and return it."""
        if deployment is None or deployment["spec"].get("replicas") == replicas:
            return deployment
        return await self._apply(DEPLOYMENTS, resized(deployment, replicas=replicas))

    async def prune(self, planned: Plan, owned: list[Object]) -> None:
        """Delete what is the model's and not planned."""
        wanted = {_identity(child) for child in planned.children}
        for child in owned:
            is_going = bool(child["metadata"].get("deletionTimestamp"))
            if _identity(child) not in wanted and not is_going and not planned.leaves(child):
                await self._delete(child)

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
        if resource == JOBS and (needs_apply(child, observed) or self._is_due(observed)):
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

    async def _delete(self, child: Object) -> None:
        self._metrics.wrote(child["kind"], "delete")
        logger.info("%s: deleting %s", child["metadata"]["namespace"], _title(child))
        # Gone, or another object by now: then there is nothing left to delete.
        with suppress(NotFoundError, ConflictError):
            await self._kube.delete(_resource(child), child)


def _identity(obj: Object) -> tuple[str, str]:
    return obj["kind"], obj["metadata"]["name"]


def _resource(child: Object) -> Resource:
    return _RESOURCES[child["apiVersion"], child["kind"]]


def _refused(child: Object, error: KubeError) -> Trouble:
    return child_refused(error.message, kind=child["kind"], name=child["metadata"]["name"])


def _title(child: Object) -> str:
    return f"{child['kind']} {child['metadata']['name']}"
