"""Settings of the operator, read once by the command line."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, field_validator, model_validator
from pydantic.alias_generators import to_camel
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from heliograph_api import naming
from heliograph_api.engine import Engine
from heliograph_api.fields import DNSName
from heliograph_api.serving import Resources, Toleration

Port = Annotated[int, Field(ge=1, le=65535)]

_SERVICE = r"^([-a-z0-9]+/[-a-z0-9]+)?$"
_OWN_LABELS = {naming.NAME_LABEL, naming.COMPONENT_LABEL, naming.MANAGED_BY_LABEL}
"""Beside all of the group's own."""


class Profile(BaseModel):
    """What the administrator lends to models: where their pods run and on what.

    Keys are camelCase in JSON, as in `spec.serving`, whose own values win over these.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )

    gpu_resource: str | None = None
    """Extended resource that stands for one GPU, such as nvidia.com/gpu; None where there are none."""
    resources: Resources | None = None
    """Compute resources of one replica, GPUs left out."""
    node_selector: Mapping[str, str] = {}
    """Labels that a node must have."""
    tolerations: tuple[Toleration, ...] = ()
    """Node taints that the pods put up with."""
    runtime_class_name: str | None = None
    """RuntimeClass of the pods."""
    priority_class_name: DNSName | None = None
    """PriorityClass of the pods, and of those that fetch weights for them."""
    pod_labels: Mapping[str, str] = {}
    """Labels of the pods beside the operator's own, such as the name of a queue."""
    pod_annotations: Mapping[str, str] = {}
    """Annotations of the pods beside the operator's own."""
    images: Mapping[Engine, str] = {}
    """Runtime image by engine, where it differs from the operator's own."""

    @field_validator("pod_labels", "pod_annotations")
    @classmethod
    def _beside_our_own(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for name in value:
            if name in _OWN_LABELS or f".{name.partition('/')[0]}".endswith(f".{naming.GROUP}"):
                raise ValueError(f"{name} is the operator's own, which pods are found by; choose another name")
        return value


class OperatorSettings(BaseSettings):
    """Settings of the operator; each is also an environment variable `HELIOGRAPH_OPERATOR_<NAME>`, objects as JSON."""

    model_config = SettingsConfigDict(
        env_prefix="HELIOGRAPH_OPERATOR_", env_nested_delimiter="__", frozen=True, use_attribute_docstrings=True
    )

    namespaces: Annotated[tuple[str, ...], NoDecode] = ()
    """Namespaces whose ImageModels are served, comma-separated in the environment; all of them when empty."""

    runtime_image_diffusers: str = Field(default_factory=lambda: _image("diffusers"), min_length=1)
    """Image of the diffusers runtime; as all images, that of the operator's own version unless it is given."""
    runtime_image_sdcpp: str = Field(default_factory=lambda: _image("sdcpp"), min_length=1)
    """Image of the stable-diffusion.cpp runtime."""
    runtime_image_diffusers_cuda: str = Field(default_factory=lambda: _image("diffusers-cuda"), min_length=1)
    """Image of the diffusers runtime for replicas with NVIDIA's GPUs."""
    runtime_image_sdcpp_cuda: str = Field(default_factory=lambda: _image("sdcpp-cuda"), min_length=1)
    """Image of the stable-diffusion.cpp runtime for replicas with NVIDIA's GPUs."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """Pull policy of the runtimes' and the fetchers' images."""
    image_pull_secrets: Annotated[tuple[DNSName, ...], NoDecode] = ()
    """Names of the Secrets by which those images are pulled, comma-separated in the environment; looked for in the
    model's own namespace."""
    runtime_resources: Resources = Resources(requests={"cpu": "1", "memory": "2Gi"})
    """Compute resources of one replica where neither the ImageModel nor its profile names any; where the size of the
    weights is known, the memory that is requested is theirs and 2Gi."""
    gpu_profile: Profile | None = None
    """Profile of models that ask for a GPU and name no profile; without one, they run on CPUs."""
    profiles: Mapping[str, Profile] = {}
    """Profiles that `spec.serving.profile` may name."""

    fetcher_image: str = Field(default_factory=lambda: f"heliograph-fetcher:{version('heliograph')}", min_length=1)
    """Image of the container that fetches weights."""
    fetcher_resources: Resources = Resources(requests={"cpu": "100m", "memory": "256Mi"}, limits={"memory": "2Gi"})
    """Compute resources of that container."""
    fetcher_env: Mapping[str, str] = {}
    """Environment of that container, such as HTTPS_PROXY, HF_ENDPOINT or AWS_ENDPOINT_URL; nothing that is secret."""
    fetcher_secret: str = ""
    """Name of a Secret whose keys are environment variables of that container, such as the keys of a bucket; looked for
    in the model's own namespace, which need not have it."""
    fetcher_ca_config_map: DNSName | Literal[""] = ""
    """Name of a ConfigMap with the certificates of the authorities that this container trusts in place of the public
    ones; looked for in the model's own namespace, which has to have it. The public ones when empty."""
    fetcher_ca_key: Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$")] = "ca.crt"
    """Its field with them, in PEM."""
    fetch_retry_seconds: Annotated[float, Field(ge=1)] = 300.0
    """Seconds after which weights that could not be fetched are tried for again."""
    cache_mode: Literal["perModel", "sharedRWX", "ephemeral"] = "perModel"
    """Where fetched weights are kept unless the ImageModel says it."""
    cache_storage_class: str = ""
    """StorageClass of the volumes that are made for weights; the cluster's default when empty."""
    cache_size: Annotated[str, Field(pattern=r"^[0-9.]+([EPTGMK]i?)?$")] = "50Gi"
    """Size of a volume that is made for the weights of one model, and most that a pod's own folder for them may hold,
    unless the ImageModel says it."""
    cache_shared_claim: str = "heliograph-weights"
    """Name of the claim that models of the cache mode sharedRWX share, one in each namespace."""
    cache_shared_size: Annotated[str, Field(pattern=r"^[0-9.]+([EPTGMK]i?)?$")] = "500Gi"
    """Size of the volume of that claim."""

    gateway_pod_labels: Mapping[str, str] = {
        "app.kubernetes.io/name": "heliograph",
        "app.kubernetes.io/component": "gateway",
    }
    """Labels of the pods that may reach a runtime; nothing else may."""
    gateway_namespace_labels: Mapping[str, str] = {}
    """Labels of the namespace of those pods; empty means the model's own namespace."""
    metrics_pod_labels: Mapping[str, str] = {}
    """Labels of the pods that may scrape a runtime's metrics, on the port that takes requests; none when empty."""
    metrics_namespace_labels: Mapping[str, str] = {}
    """Labels of the namespace of those pods; empty means the model's own namespace."""
    tracing_env: Mapping[str, str] = {}
    """OpenTelemetry's environment variables of the runtimes, such as OTEL_EXPORTER_OTLP_ENDPOINT; nothing secret."""
    collector_pod_labels: Mapping[str, str] = {}
    """Labels of the pods that collect traces, which the runtimes may reach, and DNS; nothing when empty."""
    collector_namespace_labels: Mapping[str, str] = {}
    """Labels of the namespace of those pods; empty means the model's own namespace."""
    probe_networks: Annotated[tuple[IPvAnyNetwork, ...], NoDecode] = ()
    """Address ranges of the nodes, comma-separated in the environment, where the network plugin holds the kubelet's
    probes to NetworkPolicies too; most let them pass."""
    operator_pod_labels: Mapping[str, str] = {
        "app.kubernetes.io/name": "heliograph",
        "app.kubernetes.io/component": "operator",
    }
    """Labels of the operator's own pods, which ask a fetcher how far it is."""
    operator_namespace_labels: Mapping[str, str] = {}
    """Labels of the namespace of those pods; empty means the model's own namespace."""
    fetcher_blocked_networks: Annotated[tuple[IPvAnyNetwork, ...], NoDecode] = ()
    """Address ranges that a fetcher must not reach, comma-separated in the environment; the metadata services of clouds
    are always closed to it."""
    fetcher_reaches_pods: bool = True
    """Whether a fetcher may reach the cluster's own pods, such as a mirror of the hub, with any network plugin; False
    leaves those of them that lie in `fetcher_blocked_networks` closed."""
    rollout: Literal["surge", "replace"] = "surge"
    """What a new pod does that finds no room beside the old ones, unless the ImageModel says it: wait for it (surge),
    or take the place of one that is idle (replace), of which the gateways tell: it needs `gateway_service`."""
    runtime_request_seconds: Annotated[int, Field(ge=1, le=86_400)] = 300
    """Seconds from a request's arrival at a runtime to its answer at the latest; a pod that ends waits as long for the
    requests that it has."""

    gateway_service: Annotated[str, Field(pattern=_SERVICE)] = ""
    """Service before the gateways' load listeners, as NAMESPACE/NAME: its endpoints are asked for the load of each
    model. Nothing is scaled by itself when empty."""
    autoscale_seconds: Annotated[float, Field(ge=0.1)] = 5.0
    """Seconds between two looks at the load."""
    scale_down_seconds: Annotated[float, Field(ge=0)] = 300.0
    """Seconds for which the load must have been lower before a model loses a replica, unless it is idle."""

    handover: bool = True
    """Whether an idle model gives its GPU to one that has requests and finds none."""
    handover_residence_seconds: Annotated[float, Field(ge=0)] = 60.0
    """Seconds that a model keeps its GPU at least, from when it was ready, so that two do not take it from each other
    all the time."""
    handover_across_namespaces: bool = False
    """Whether a model may also put out one of another namespace, of lower priority than its own."""

    resync_seconds: Annotated[float, Field(ge=1)] = 300.0
    """Seconds between two full listings of the ImageModels."""
    workers: Annotated[int, Field(ge=1, le=64)] = 4
    """ImageModels that are reconciled at the same time."""
    request_timeout: Annotated[float, Field(gt=0)] = 30.0
    """Seconds after which a request to the API server is given up."""

    health_host: str = "0.0.0.0"  # noqa: S104 - the kubelet and Prometheus come from outside the pod
    """Address on which health and metrics are served."""
    health_port: Port = 8081
    """Port of /healthz, /readyz and /metrics."""

    lease: bool = False
    """Whether to work only while holding a Lease; needed with more than one replica."""
    lease_name: str = "heliograph-operator"
    """Name of the Lease."""
    lease_namespace: str = ""
    """Namespace of the Lease; required with `lease`."""
    lease_seconds: Annotated[int, Field(ge=2)] = 15
    """Seconds after which a Lease that is not renewed may be taken over."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level of the messages that are logged."""

    @field_validator("tracing_env")
    @classmethod
    def _of_tracing(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for name in value:
            if not name.startswith("OTEL_"):
                raise ValueError(f"{name} is no variable of OpenTelemetry's; their names begin with OTEL_")
        return value

    @field_validator("namespaces", "image_pull_secrets", "probe_networks", "fetcher_blocked_networks", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check(self) -> "OperatorSettings":
        if self.lease and not self.lease_namespace:
            raise ValueError("lease_namespace is required with lease: name the namespace that the operator runs in")
        if not self.gateway_pod_labels:
            raise ValueError("gateway_pod_labels must not be empty: every pod could reach the runtimes")
        return self


def _image(runtime: str) -> str:
    return f"heliograph-runtime-{runtime}:{version('heliograph')}"
