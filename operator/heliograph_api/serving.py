"""`spec.serving`: everything about an ImageModel that is Kubernetes' and not LocalAI's."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from heliograph_api.fields import (
    MAX_INT,
    MAX_LIST,
    DNSName,
    Gpus,
    LabelKey,
    LabelSelector,
    LabelValue,
    OneLine,
    Quantity,
    RelativePath,
    Replicas,
    ResourceList,
    WholeNumber,
)
from heliograph_api.rules import Rule, SpecModel, matching

MAX_RETRY_AFTER = 120
"""Seconds; OpenAI's clients give up without a retry when Retry-After names more."""
MAX_IDLE_SECONDS = 604_800
"""Longest time without a request that `spec.serving.scaling` may wait for, one week."""
_TARGET = 4
_IDLE_SECONDS = 300


class ServingModel(SpecModel):
    """Base of the parts of `spec.serving`, which Kubernetes' users expect in camelCase."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True)


class Scaling(ServingModel):
    """Automatic scaling on the load that the gateways see; its presence turns the autoscaler on."""

    RULES = (
        Rule(
            cel="!has(self.min) || !has(self.max) || self.min <= self.max",
            message="min must not be greater than max",
            check=lambda self: self.min is None or self.max is None or self.min <= self.max,
            field="min",
        ),
    )

    min: Replicas | None = None
    """Fewest replicas; 0 lets an idle model give its GPU back; 1 unless given."""
    max: Annotated[int, Field(ge=1, le=1000), WholeNumber] | None = None
    """Most replicas; `min`, or 1 where that is greater, unless given."""
    target: Annotated[int, Field(ge=1, le=10_000), WholeNumber] | None = None
    """Requests per replica, running and queued, that the autoscaler aims at; 4 unless given."""
    idle_seconds: Annotated[int, Field(ge=1, le=MAX_IDLE_SECONDS), WholeNumber] | None = None
    """Seconds without a request after which the model is scaled to `min`; 300 unless given."""

    @property
    def fewest(self) -> int:
        """Return the fewest replicas."""
        return 1 if self.min is None else self.min

    @property
    def most(self) -> int:
        """Return the most replicas."""
        return max(1, self.fewest) if self.max is None else self.max

    @property
    def requests_per_replica(self) -> int:
        """Return the requests per replica to aim at."""
        return self.target or _TARGET

    @property
    def idle_after(self) -> int:
        """Return the seconds without a request after which the model is idle."""
        return self.idle_seconds or _IDLE_SECONDS

    @property
    def awake(self) -> int:
        """Return the replicas that a model without any is woken to."""
        return max(1, self.fewest)


class Resources(ServingModel):
    """Compute resources of one replica, as in a container; quantities are strings."""

    requests: ResourceList | None = None
    """Least amount of each resource, by name: cpu, memory, ephemeral-storage."""
    limits: ResourceList | None = None
    """Most of each resource, by name: cpu, memory, nvidia.com/gpu."""


class Toleration(ServingModel):
    """A node taint that the model's pods put up with, as in a pod."""

    RULES = (
        Rule(
            cel="has(self.key) || (has(self.operator) && self.operator == 'Exists')",
            message="is required unless operator is Exists",
            check=lambda self: self.key is not None or self.operator == "Exists",
            field="key",
        ),
        Rule(
            cel="!(has(self.operator) && self.operator == 'Exists' && has(self.value) && self.value != '')",
            message="must be left out when operator is Exists",
            check=lambda self: not (self.operator == "Exists" and self.value),
            field="value",
        ),
        Rule(
            cel="!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            message="needs effect: NoExecute",
            check=lambda self: self.toleration_seconds is None or self.effect == "NoExecute",
            field="tolerationSeconds",
        ),
    )

    key: LabelKey | None = None
    """Taint key; all keys when it is absent and `operator` is Exists."""
    operator: Literal["Exists", "Equal"] | None = None
    """Relation of `key` to `value`; Equal unless given."""
    value: LabelValue | None = None
    """Taint value to match."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Taint effect to match; all effects when absent."""
    toleration_seconds: Annotated[int, Field(ge=0, le=MAX_INT), WholeNumber] | None = None
    """Seconds that a NoExecute taint is tolerated; for ever when absent."""


class Cache(ServingModel):
    """Where the model's weights are kept."""

    RULES = (
        Rule(
            cel="!has(self.subPath) || has(self.existingClaim)",
            message="subPath needs existingClaim: it is a folder inside that claim",
            check=lambda self: self.sub_path is None or self.existing_claim is not None,
            field="subPath",
        ),
    )

    mode: Literal["sharedRWX", "perModel", "ephemeral"] | None = None
    """One volume for the namespace, one for the model, or none that outlives the pod."""
    storage_class: DNSName | None = None
    """StorageClass of a volume that is made."""
    size: Quantity | None = None
    """Size of a volume that is made; with `ephemeral`, the most that the weights may take of the node's disk."""
    existing_claim: DNSName | None = None
    """PersistentVolumeClaim of the same namespace that already holds the files; it is mounted read-only."""
    sub_path: RelativePath | None = None
    """Folder inside `existingClaim` in which relative model paths are looked up."""


class RequestLimits(ServingModel):
    """Limits of the requests that a model takes; they win over LocalAI's `limits`."""

    max_concurrent: Annotated[int, Field(ge=0, le=10_000), WholeNumber] | None = None
    """Requests at work or queued in one replica; more get 429. 0 means no limit of its own."""
    max_queued: Annotated[int, Field(ge=1, le=10_000), WholeNumber] | None = None
    """Requests that wait in one gateway for a replica, or for room at one; more get 429; the gateway's setting, 64,
    unless given."""
    retry_after_seconds: Annotated[int, Field(ge=1, le=MAX_RETRY_AFTER), WholeNumber] | None = None
    """Seconds named in Retry-After; OpenAI's clients give up without a retry above 120."""
    max_images: Annotated[int, Field(ge=1, le=64), WholeNumber] | None = None
    """Most images that one request may ask for; 10 unless given."""
    max_pixels: Annotated[int, Field(ge=4096, le=67_108_864), WholeNumber] | None = None
    """Most pixels in one image; 4194304 (2048x2048) unless given."""


class SecretKeyRef(ServingModel):
    """A key of a Secret in the ImageModel's namespace."""

    name: DNSName
    """Name of the Secret."""
    key: Annotated[
        str,
        StringConstraints(max_length=253),
        matching(r"[-._a-zA-Z0-9]+", "must be a key of a Secret: letters, digits, '-', '_' and '.'"),
    ] = "token"
    """Key inside the Secret; `token` unless given."""


class Serving(ServingModel):
    """How Kubernetes runs the model; LocalAI knows none of these keys."""

    replicas: Replicas = 1
    """Number of replicas; the one source of truth, which /scale writes too."""
    scaling: Scaling | None = None
    """Automatic scaling; off when absent."""
    resources: Resources | None = None
    """Compute resources of one replica, in place of the profile's and the administrator's, whose memory is made to fit
    fetched weights: their size and 2Gi."""
    profile: DNSName | None = None
    """Name of a profile that the administrator defines: resources, node selector, tolerations, runtime class, image."""
    gpus: Gpus | None = None
    """GPUs of one replica."""
    node_selector: LabelSelector | None = None
    """Labels that a node must have."""
    tolerations: Annotated[list[Toleration], Field(max_length=16)] | None = None
    """Node taints that the pods put up with."""
    cache: Cache | None = None
    """Where the weights are kept."""
    aliases: (
        Annotated[
            list[Annotated[str, StringConstraints(min_length=1, max_length=512), OneLine]], Field(max_length=MAX_LIST)
        ]
        | None
    ) = None
    """Further names under which requests reach this model."""
    limits: RequestLimits | None = None
    """Limits of the requests that the model takes."""
    hf_token_secret_ref: SecretKeyRef | None = None
    """Token for gated repositories; only the weights fetcher reads it."""
    rollout: Literal["surge", "replace"] | None = None
    """What a new pod does that finds no room beside the old ones: wait for it (surge), or take the place of one that is
    idle (replace); the administrator's setting when absent."""
    priority: Annotated[int, Field(ge=-1000, le=1000), WholeNumber] | None = None
    """Rank among models that compete for a GPU; 0 unless given, higher wins."""
    response_format: Literal["url", "b64_json", "both"] | None = None
    """How pictures come back where neither a request nor the name that it asks for says so; `compat` decides when
    absent, then the gateway's setting."""
    split_prompt: bool | None = None
    """Whether a `|` in a prompt splits off a negative prompt, as in LocalAI; true unless given."""
    compat: Literal["localai", "sd-api-server", "gpustack"] | None = None
    """System whose documented defaults apply where a request and the ImageModel are silent."""
