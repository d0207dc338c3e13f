"""What a replica runs on: resources, GPUs and nodes, from the ImageModel, its profile and the operator's settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from heliograph_api.engine import Engine
from heliograph_api.errors import SpecError
from heliograph_api.manifest import ImageModel
from heliograph_api.serving import Resources
from heliograph_api.spec import ImageModelSpec
from heliograph_api.status import SpecWarning
from heliograph_operator.plan.quantity import value_of
from heliograph_operator.settings import OperatorSettings, Profile

_NVIDIA = "nvidia.com/"
"""What the names of the resources of NVIDIA's device plugin begin with, those of parts of GPUs too."""
_WORKING_MEMORY = 2 * 2**30
"""Bytes beside the weights: libraries, and what a picture of usual size is drawn in."""


@dataclass(frozen=True)
class Hardware:
    """What one replica runs on.

    Attributes:
        resources: `resources` of the container, GPUs among the limits.
        gpu_resource: The one of the limits that stands for GPUs, and not for other devices; None where there is none.
        node_selector: Labels that a node must have.
        tolerations: Node taints that the pod puts up with.
        runtime_class_name: RuntimeClass of the pod, if it needs one.
        priority_class_name: PriorityClass of the pod, if it has one.
        pod_labels: Labels of the pod beside the operator's own.
        pod_annotations: Annotations of the pod beside the operator's own.
        image: Runtime image instead of the one for CPUs, if it is another: the profile's, or the one for NVIDIA's GPUs.
        warnings: What could not be had as the spec asks.
    """

    resources: Mapping[str, Mapping[str, str]]
    gpu_resource: str | None
    node_selector: Mapping[str, str]
    tolerations: list[dict[str, Any]]
    runtime_class_name: str | None
    priority_class_name: str | None
    pod_labels: Mapping[str, str]
    pod_annotations: Mapping[str, str]
    image: str | None
    warnings: list[SpecWarning]


def plan_hardware(
    *, model: ImageModel, settings: OperatorSettings, engine: Engine, max_gpus: int, size: int | None
) -> Hardware:
    """Return what one replica runs on.

    Args:
        model: The ImageModel.
        settings: The operator's settings, profiles among them.
        engine: The engine that serves the model.
        max_gpus: Most GPUs that the engine can put to use.
        size: Bytes of the weights; None where they are not known.

    Raises:
        SpecError: The profile is unknown, or there are more GPUs than the engine can use.
    """
    serving = model.spec.serving
    gpus = _wanted_gpus(model.spec, max_gpus)
    profile = _profile(serving.profile, settings, wants_gpu=gpus > 0)
    given = serving.resources or profile.resources
    resources = _quantities(given) if given else _for_weights(settings.runtime_resources, size)
    devices = [name for name in resources.get("limits", {}) if "/" in name]
    # A profile may lend other devices, such as a network card, beside the GPUs that are counted here.
    by_hand = devices and (serving.resources or profile.gpu_resource in (None, *devices))
    if gpus and not by_hand and profile.gpu_resource:
        resources["limits"] = {**resources.get("limits", {}), profile.gpu_resource: str(gpus)}
    image = profile.images.get(engine) or _gpu_image(engine, resources, settings)
    tolerations = [*profile.tolerations, *(serving.tolerations or ())]
    return Hardware(
        resources=resources,
        gpu_resource=_gpu_resource(resources, profile),
        node_selector={**profile.node_selector, **(serving.node_selector or {})},
        tolerations=[toleration.model_dump(by_alias=True, exclude_none=True) for toleration in tolerations],
        runtime_class_name=profile.runtime_class_name,
        priority_class_name=profile.priority_class_name,
        pod_labels=profile.pod_labels,
        pod_annotations=profile.pod_annotations,
        image=image,
        warnings=_warnings(
            model.spec, profile=profile, gpus=gpus, by_hand=devices if by_hand else (), has_image=image is not None
        ),
    )


def _wanted_gpus(spec: ImageModelSpec, max_gpus: int) -> int:
    parallel, given = spec.tensor_parallel_size or 0, spec.serving.gpus
    if given is not None and parallel > 1 and given != parallel:
        raise SpecError(
            "spec.serving.gpus", f"is {given}, but tensor_parallel_size is {parallel}; leave one out or make them equal"
        )
    wanted = given if given is not None else parallel if parallel > 1 else int(spec.wants_cuda)
    if wanted > max_gpus:
        field = "spec.serving.gpus" if given is not None else "spec.tensor_parallel_size"
        raise SpecError(field, f"is {wanted}, but the engine can use {max_gpus} at most; lower it")
    return wanted


def _profile(name: str | None, settings: OperatorSettings, *, wants_gpu: bool) -> Profile:
    if name is None:
        return (settings.gpu_profile if wants_gpu else None) or Profile()
    if name not in settings.profiles:
        known = ", ".join(sorted(settings.profiles)) or "none"
        raise SpecError("spec.serving.profile", f"{name} is no profile of this cluster's; there are: {known}")
    return settings.profiles[name]


def _quantities(resources: Resources) -> dict[str, dict[str, str]]:
    return resources.model_dump(by_alias=True, exclude_none=True)


def _for_weights(default: Resources, size: int | None) -> dict[str, dict[str, str]]:
    """Return the default resources with memory for the weights, which go through it on their way to a GPU too."""
    resources = _quantities(default)
    if size is None:
        return resources
    memory = f"{-(-(size + _WORKING_MEMORY) // 2**20)}Mi"
    resources["requests"] = {**resources.get("requests", {}), "memory": memory}
    limits = resources.get("limits", {})
    if "memory" in limits and value_of(limits["memory"]) < value_of(memory):
        # The API server takes no limit below the request; a ResourceQuota may want one to be given all the same.
        resources["limits"] = {**limits, "memory": memory}
    return resources


def _gpu_resource(resources: Mapping[str, Mapping[str, str]], profile: Profile) -> str | None:
    """Return which limit stands for GPUs: what the profile calls so, or else the first device."""
    limits = resources.get("limits", {})
    if profile.gpu_resource in limits:
        return profile.gpu_resource
    return next((name for name in limits if "/" in name), None)


def _gpu_image(engine: Engine, resources: Mapping[str, Mapping[str, str]], settings: OperatorSettings) -> str | None:
    """Return the operator's image for the GPUs among the resources; None where there are none that it has one for."""
    if not any(name.startswith(_NVIDIA) for name in resources.get("limits", {})):
        return None
    return settings.runtime_image_diffusers_cuda if engine == "diffusers" else settings.runtime_image_sdcpp_cuda


def _warnings(
    spec: ImageModelSpec, *, profile: Profile, gpus: int, by_hand: Sequence[str], has_image: bool
) -> list[SpecWarning]:
    """Return what the GPUs that are asked for, and those that are lent, have not in common.

    Args:
        spec: The spec.
        profile: The profile.
        gpus: GPUs that are asked for.
        by_hand: Devices that stand in the resources in place of those GPUs.
        has_image: Whether there is an image for what is lent.
    """
    name, resource = spec.serving.profile, profile.gpu_resource
    if gpus and not by_hand and not resource:
        lack = f"the profile {name} has no GPUs" if name else "this cluster has no GPU profile"
        told = f"A GPU is asked for, but {lack}: the model runs on CPUs. Remove cuda, or ask the administrator for a"
        return [SpecWarning(reason="CudaUnavailable", message=f"{told} GPU profile.")]
    if gpus and resource and not has_image:
        had = ", ".join(by_hand) or resource
        told = f"A replica gets {had}, but no image that can use it: the model runs on CPUs, its GPU idle."
        return [SpecWarning(reason="GPUImageMissing", message=f"{told} Name one in the profile's images.")]
    if resource and not gpus and spec.serving.gpus is None and not by_hand:
        told = f"The profile {name} lends GPUs, but the model asks for none: it runs on CPUs. Set cuda: true, or"
        return [SpecWarning(reason="GPUNotRequested", message=f"{told} spec.serving.gpus (0 where that is meant).")]
    return []
