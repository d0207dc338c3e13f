"""`ImageModel.status`: what the operator saw, written by its one status writer."""

from typing import Annotated, Literal

from pydantic import Field

from heliograph_api.fields import LongText, ShortText
from heliograph_api.serving import ServingModel

MAX_WARNINGS = 64

PASSING_REASONS = frozenset({
    "AwaitingRemoval", "CacheNotShareable", "Disabled", "Fetching", "InsufficientCpu", "InsufficientMemory",
    "InsufficientResource", "Interrupted", "KeptApart", "NoGpuFree", "Preempted", "ScaledToZero", "Starting",
    "Unschedulable", "VolumeInUse",
})  # fmt: skip
"""Reasons why Ready is False that pass without anybody's doing, be it when another model gives up its room; any other
stays until somebody does something."""

FINAL_REASONS = frozenset({
    "ChecksumMismatch", "ClaimMissing", "ConfigError", "ConfigMissing", "CorruptWeights", "EngineMissing",
    "ImagePullFailed", "InvalidSource", "LibraryMissing", "LoadFailed", "NameTaken", "PathEscape", "RemoteCode",
    "SecretMissing", "TooFewGPUs", "TooLarge", "TooLittleMemory", "UnknownFormat", "UnknownPipeline", "UnsafeWeights",
    "Unsupported", "UnsupportedPipeline", "WeightsMissing", "WeightsNotFound", "WeightsUnauthorized",
})  # fmt: skip
"""Reasons why Ready is False that no restart, further node or later try is likely to mend, so that it is no use to
wait: what is wrong is in the spec, the weights or the images."""

ConditionStatus = Literal["True", "False", "Unknown"]


class Condition(ServingModel):
    """One aspect of the model's state, as Kubernetes' API conventions define it."""

    type: Annotated[str, Field(max_length=316)]
    """Aspect: Accepted, WeightsCached, Ready, Progressing, and NameConflict and the like where they apply."""
    status: ConditionStatus
    """Whether the aspect holds."""
    observed_generation: int | None = None
    """Generation of the spec that this was seen for."""
    last_transition_time: ShortText
    """When `status` last changed, RFC 3339 in UTC."""
    reason: ShortText
    """One word in CamelCase for machines."""
    message: LongText
    """One or two sentences for people: what is wrong and what to do."""


class EngineStatus(ServingModel):
    """The chosen engine."""

    name: Literal["diffusers", "sdcpp"]
    """Engine that serves the model."""
    reason: ShortText
    """Why this one."""


class WeightsStatus(ServingModel):
    """The weights as they were found."""

    summary: ShortText | None = None
    """How they are, in a few words: their size, or how far they are fetched."""
    bytes: int | None = None
    """Size of the files."""
    percent: Annotated[int, Field(ge=0, le=100)] | None = None
    """How much of the files is there, while they are fetched and as soon as their size is known."""
    folder: ShortText | None = None
    """Folder of the volume that they were fetched into."""
    revision: ShortText | None = None
    """Commit that the requested revision stood for; of the model itself where there are several sources."""
    sha256: ShortText | None = None
    """Digest of a single-file model."""


class SpecWarning(ServingModel):
    """Something in the spec that was not done as written."""

    reason: ShortText
    """One word in CamelCase for machines, such as UnknownKey."""
    message: LongText
    """One sentence for people, naming the key."""


class ImageModelStatus(ServingModel):
    """Observed state of the model."""

    observed_generation: int | None = None
    """Generation of the spec that this status speaks of."""
    conditions: (
        Annotated[
            list[Condition],
            Field(
                max_length=16,
                json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
            ),
        ]
        | None
    ) = None
    """Aspects of the state; Ready sums them up."""
    replicas: int | None = None
    """Pods that exist."""
    ready_replicas: int | None = None
    """Pods that answer requests."""
    selector: ShortText | None = None
    """Label selector of the pods, for /scale."""
    engine: EngineStatus | None = None
    """Engine that serves the model."""
    model: ShortText | None = None
    """Public id of the model."""
    url: ShortText | None = None
    """Address of the model's Service inside the cluster."""
    weights: WeightsStatus | None = None
    """Weights as they were found."""
    warnings: Annotated[list[SpecWarning], Field(max_length=MAX_WARNINGS)] | None = None
    """What was not done as the spec has it."""
