"""How the pods of a model come by its weights: from which volume, and what must be fetched into it before.

existing    a claim that holds the files already (`serving.cache.existingClaim`, or `pvc://` as the model)
perModel    a claim of the model's own, into which a Job fetches
sharedRWX   the claim that all models of the namespace share, into which a Job fetches
ephemeral   a folder of each pod's own, into which the pod itself fetches
none        nothing to fetch and no claim: the files are missing
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from heliograph_api import naming, weights
from heliograph_api.errors import SpecError
from heliograph_api.manifest import ImageModel
from heliograph_api.serving import Cache
from heliograph_api.sources import LocalSource
from heliograph_operator.plan.claim import is_for_one_node
from heliograph_operator.plan.runtime import MODELS_DIR
from heliograph_operator.resources import Object
from heliograph_operator.settings import OperatorSettings

Mode = Literal["existing", "perModel", "sharedRWX", "ephemeral", "none"]

VOLUME = "models"


@dataclass(frozen=True)
class PlannedWeights:
    """How a model comes by its weights.

    Attributes:
        mode: Where they are kept; see the module.
        spec: The spec as the runtime reads it, each part by its place in the model's folder.
        claim: Name of the claim that the pods mount; None for `ephemeral` and `none`.
        sub_path: Folder in the claim that is the model's; empty for all of it.
        size_limit: Most that a pod's own folder may hold; empty for a claim, which has its size.
        folder: What the folder of fetched weights is called, which tells them from all others; None where nothing is
            fetched.
        is_on_one_node: Whether one node at a time can mount the claim.
        is_for_one_pod: Whether one pod at a time can.
    """

    mode: Mode
    spec: Mapping[str, Any]
    claim: str | None = None
    sub_path: str = ""
    folder: str | None = None
    size_limit: str = ""
    is_on_one_node: bool = False
    is_for_one_pod: bool = False

    @property
    def by_job(self) -> str | None:
        """Return the folder that a Job must have filled before pods can start; None where there is none."""
        return None if self.mode == "ephemeral" else self.folder

    @property
    def is_shared(self) -> bool:
        """Return whether the claim is one that the models of a namespace share."""
        return self.mode == "sharedRWX"

    @property
    def volume(self) -> Object:
        """Return the pod's volume."""
        if self.claim is None:
            return {"name": VOLUME, "emptyDir": {"sizeLimit": self.size_limit} if self.size_limit else {}}
        return {"name": VOLUME, "persistentVolumeClaim": {"claimName": self.claim, "readOnly": True}}

    @property
    def mount(self) -> Object:
        """Return the mount of the runtime's container: the model's folder alone, read-only."""
        mount: Object = {"name": VOLUME, "mountPath": MODELS_DIR, "readOnly": True}
        return {**mount, "subPath": self.sub_path} if self.sub_path else mount


def plan_weights(
    *, model: ImageModel, settings: OperatorSettings, access_modes: Collection[str] = ()
) -> PlannedWeights:
    """Return how a model that is no alias comes by its weights.

    Args:
        model: The ImageModel.
        settings: The operator's settings.
        access_modes: The ways in which the claim that it names can be mounted; empty where they are not known.

    Raises:
        SpecError: A source is written wrongly, or does not go with the cache.
    """
    cache = model.spec.serving.cache or Cache()
    found = weights.plan_weights(model)
    for part in found.parts:
        if isinstance(part.source, LocalSource):
            raise SpecError(
                part.field, "file:// is for `heliograph serve`; in a cluster, name a claim: pvc://CLAIM/PATH"
            )
    if cache.existing_claim is not None:
        _refuse_sources(found)
        _refuse_shared(cache.existing_claim, "spec.serving.cache.existingClaim", settings)
        return _existing(model.raw_spec, cache.existing_claim, access_modes, sub_path=cache.sub_path or "")
    if found.claim is not None:
        if found.parts:
            raise SpecError(found.parts[0].field, "is fetched, and a claim that pvc:// names is only read; keep one")
        _refuse_shared(found.claim.claim, "spec.parameters.model", settings)
        return _existing(found.local_spec, found.claim.claim, access_modes)
    if not found.parts:
        return PlannedWeights("none", model.raw_spec)
    folder = weights.folder_name(model, found)
    mode = cache.mode or settings.cache_mode
    if mode == "ephemeral":
        size = cache.size or settings.cache_size
        return PlannedWeights(mode, found.local_spec, None, f"models/{folder}", folder, size)
    is_shared = mode == "sharedRWX"
    claim = settings.cache_shared_claim if is_shared else naming.child_name(model.name)
    return PlannedWeights(mode, found.local_spec, claim, f"models/{folder}", folder, is_on_one_node=not is_shared)


def _existing(
    spec: Mapping[str, Any], claim: str, access_modes: Collection[str], *, sub_path: str = ""
) -> PlannedWeights:
    return PlannedWeights(
        "existing",
        spec,
        claim,
        sub_path,
        is_on_one_node=is_for_one_node(access_modes),
        is_for_one_pod=set(access_modes) == {"ReadWriteOncePod"},
    )


def _refuse_shared(claim: str, field: str, settings: OperatorSettings) -> None:
    """Refuse a claim whose files the operator removes as soon as no model that they were fetched for needs them."""
    if claim == settings.cache_shared_claim:
        raise SpecError(
            field,
            f"{claim} is the volume that weights are fetched into for all models here, and removed from when those no "
            "longer need them; name their source, so that they are shared, or put them into a claim of your own",
        )


def _refuse_sources(found: weights.WeightsPlan) -> None:
    """Refuse sources beside a claim that holds the files, but for `download_files`, which say how they came there."""
    for part in found.parts:
        if not part.field.startswith("spec.download_files"):
            raise SpecError(
                part.field,
                "is fetched from elsewhere, but serving.cache.existingClaim says that the files are in a claim; write "
                "their path in it, or leave existingClaim out",
            )
