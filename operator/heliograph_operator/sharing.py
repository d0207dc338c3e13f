"""The claim that the models of a namespace share: read and written, unlike children, by many of them."""

import logging

from heliograph_api import naming
from heliograph_api.manifest import ImageModel
from heliograph_operator.kube import ConflictError, KubeApi, NotFoundError
from heliograph_operator.metrics import Metrics
from heliograph_operator.ownership import Owner
from heliograph_operator.plan.claim import Share, at_present_size, owner_uids, shares
from heliograph_operator.resources import CLAIMS, Object
from heliograph_operator.settings import OperatorSettings

logger = logging.getLogger(__name__)


class SharedClaims:
    """The shared claims of all namespaces."""

    def __init__(self, *, kube: KubeApi, settings: OperatorSettings, metrics: Metrics) -> None:
        """Read and write through `kube`."""
        self._kube = kube
        self._settings = settings
        self._metrics = metrics

    async def read(self, model: ImageModel) -> tuple[Share, Object | None]:
        """Return a model's share of the claim of its namespace, and the claim; None where it has none to use.

        There is nothing in a claim that is going but for those who use it still.
        """
        claim = await self._find(model.namespace)
        if claim is None or not _is_ours(claim) or _is_lost(claim, model):
            return Share(), None
        return Share.read(claim, model.name) or Share(), claim

    async def settle(self, model: ImageModel, planned: Object, *, grows: bool = True) -> Owner:
        """Make sure of a model's part of the claim; return whose it is.

        It is a predecessor's while it is going, since another must be made then, and the model's to use otherwise.

        Args:
            model: The ImageModel.
            planned: Its part.
            grows: Whether a claim that is there is given more room, if it is to have more.

        Raises:
            ConflictError: The claim that it was planned for is gone.
            KubeError: The API server does not take it.
        """
        present = await self._find(model.namespace)
        meant = planned["metadata"].get("uid")
        if meant is not None and (present is None or present["metadata"]["uid"] != meant):
            raise ConflictError(409, "the claim that models share is another one by now")
        if present is not None and not _is_ours(present):
            return Owner.OTHER
        if present is not None and _is_lost(present, model):
            return Owner.PREDECESSOR
        if present is not None and not grows:
            planned = at_present_size(planned, present)
        if present is None or not (_is_going(present) or shares(planned, present)):
            present = await self.apply(model.name, planned)
        return Owner.PREDECESSOR if _is_lost(present, model) else Owner.MODEL

    async def find(self, namespace: str) -> Object | None:
        """Return the claim of a namespace, if it is one of ours and there to stay."""
        claim = await self._find(namespace)
        return claim if claim is not None and _is_ours(claim) and not _is_going(claim) else None

    async def apply(self, name: str, part: Object) -> Object:
        """Write the part of the model of a name, and return the claim."""
        metadata = part["metadata"]
        logger.info("%s: applying the part of %s in %s", metadata["namespace"], name, metadata["name"])
        self._metrics.wrote(CLAIMS.kind, "apply")
        manager = f"{naming.FIELD_MANAGER}/{naming.child_name(name)}"
        return await self._kube.apply(CLAIMS, part, manager=manager)

    async def delete(self, claim: Object) -> None:
        """Delete the claim, unless it has changed since it was read."""
        logger.info("%s: deleting %s", claim["metadata"]["namespace"], claim["metadata"]["name"])
        self._metrics.wrote(CLAIMS.kind, "delete")
        await self._kube.delete(CLAIMS, claim, unchanged=True)

    async def _find(self, namespace: str) -> Object | None:
        try:
            return await self._kube.get(CLAIMS, namespace, self._settings.cache_shared_claim)
        except NotFoundError:
            return None


def _is_ours(claim: Object) -> bool:
    return (claim["metadata"].get("labels") or {}).get(naming.MANAGED_BY_LABEL) == naming.MANAGED_BY


def _is_going(claim: Object) -> bool:
    return bool(claim["metadata"].get("deletionTimestamp"))


def _is_lost(claim: Object, model: ImageModel) -> bool:
    """Return whether a claim is going and none of the model's pods can be what keeps it."""
    return _is_going(claim) and model.uid not in owner_uids(claim)
