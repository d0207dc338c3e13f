"""Settings of the operator, read once by the command line."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.alias_generators import to_camel
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from heliograph_api.engine import Engine
from heliograph_api.serving import Resources, Toleration

Port = Annotated[int, Field(ge=1, le=65535)]


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
    images: Mapping[Engine, str] = {}
    """Runtime image by engine, where it differs from the operator's own."""


class OperatorSettings(BaseSettings):
    """Settings of the operator; each is also an environment variable `HELIOGRAPH_OPERATOR_<NAME>`, objects as JSON."""

    model_config = SettingsConfigDict(
        env_prefix="HELIOGRAPH_OPERATOR_", env_nested_delimiter="__", frozen=True, use_attribute_docstrings=True
    )

    namespaces: Annotated[tuple[str, ...], NoDecode] = ()
    """Namespaces whose ImageModels are served, comma-separated in the environment; all of them when empty."""

    runtime_image_diffusers: str = Field(default_factory=lambda: _image("diffusers"), min_length=1)
    """Image of the diffusers runtime."""
    runtime_image_sdcpp: str = Field(default_factory=lambda: _image("sdcpp"), min_length=1)
    """Image of the stable-diffusion.cpp runtime."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """Pull policy of the runtime images."""
    runtime_resources: Resources = Resources(requests={"cpu": "1", "memory": "2Gi"})
    """Compute resources of one replica where neither the ImageModel nor its profile names any."""
    gpu_profile: Profile | None = None
    """Profile of models that ask for a GPU and name no profile; without one, they run on CPUs."""
    profiles: Mapping[str, Profile] = {}
    """Profiles that `spec.serving.profile` may name."""

    gateway_pod_labels: Mapping[str, str] = {
        "app.kubernetes.io/name": "heliograph",
        "app.kubernetes.io/component": "gateway",
    }
    """Labels of the pods that may reach a runtime; nothing else may."""
    gateway_namespace_labels: Mapping[str, str] = {}
    """Labels of the namespace of those pods; empty means the model's own namespace."""

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

    @field_validator("namespaces", mode="before")
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


def _image(engine: Engine) -> str:
    return f"heliograph-runtime-{engine}:{version('heliograph')}"
