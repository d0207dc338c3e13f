"""The claim that the models of a namespace share: read and written, unlike children, by many of them."""

import logging

from heliograph_api import naming
from heliograph_api.manifest import ImageModel
from heliograph_operator.kube import KubeApi, NotFoundError
from heliograph_operator.metrics import Metrics
from heliograph_operator.plan.claim import folders, shared_record, shares
from heliograph_operator.plan.fetched import Fetched
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

    async def read(self, model: ImageModel) -> tuple[Fetched | None, list[str]]:
        """Return what was fetched last for a model into the claim of its namespace, and the folders of all models."""
        claim = await self._find(model.namespace)
        if claim is None or not _is_ours(claim):
            return None, []
        return Fetched.read(claim, shared_record(model)), folders(claim)

    async def settle(self, model: ImageModel, planned: Object) -> bool:
        """Make sure of a model's part of the claim; return whether it is ours to use.

        Raises:
            KubeError: The API server does not take it.
        """
        present = await self._find(model.namespace)
        if present is not None and not _is_ours(present):
            return False
        if present is None or not shares(planned, present):
            logger.info("%s: applying the part of %s in %s", model.namespace, model.name, planned["metadata"]["name"])
            self._metrics.wrote(CLAIMS.kind, "apply")
            manager = f"{naming.FIELD_MANAGER}/{naming.child_name(model.name)}"
            await self._kube.apply(CLAIMS, planned, manager=manager)
        return True

    async def _find(self, namespace: str) -> Object | None:
        try:
            return await self._kube.get(CLAIMS, namespace, self._settings.cache_shared_claim)
        except NotFoundError:
            return None


def _is_ours(claim: Object) -> bool:
    return (claim["metadata"].get("labels") or {}).get(naming.MANAGED_BY_LABEL) == naming.MANAGED_BY
