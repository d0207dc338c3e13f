"""GPUs, profiles and resources of a replica."""

from typing import Any

import pytest

from heliograph_api.errors import SpecError
from heliograph_api.manifest import ImageModel
from heliograph_api.serving import Resources
from heliograph_operator.plan.hardware import Hardware, plan_hardware
from heliograph_operator.settings import OperatorSettings, Profile

GPU = "nvidia.com/gpu"
WITH_GPUS = OperatorSettings(gpu_profile=Profile(gpu_resource=GPU), profiles={"cpu-only": Profile()})


def hardware(spec: dict[str, Any], *, settings: OperatorSettings = WITH_GPUS, size: int | None = None) -> Hardware:
    model = ImageModel.from_object({"metadata": {"name": "m"}, "spec": {"parameters": {"model": "m"}, **spec}})
    return plan_hardware(model=model, settings=settings, engine="diffusers", max_gpus=8, size=size)


@pytest.mark.parametrize(
    ("spec", "gpus"),
    [
        ({}, None),
        ({"cuda": True}, "1"),
        ({"diffusers": {"cuda": True}}, "1"),
        ({"cuda": False, "diffusers": {"cuda": False}}, None),
        ({"tensor_parallel_size": 1}, None),
        ({"tensor_parallel_size": 4}, "4"),
        ({"serving": {"gpus": 2}}, "2"),
        ({"cuda": True, "serving": {"gpus": 0}}, None),
        ({"tensor_parallel_size": 2, "serving": {"gpus": 2}}, "2"),
    ],
)
def test_gpus(spec: dict[str, Any], gpus: str | None) -> None:
    assert hardware(spec).resources.get("limits", {}).get(GPU) == gpus
    assert hardware(spec).warnings == []


@pytest.mark.parametrize(
    ("spec", "path", "problem"),
    [
        ({"tensor_parallel_size": 9}, "spec.tensor_parallel_size", "is 9, but the engine can use 8 at most"),
        ({"serving": {"gpus": 9}}, "spec.serving.gpus", "is 9, but the engine can use 8 at most"),
        (
            {"tensor_parallel_size": 2, "serving": {"gpus": 4}},
            "spec.serving.gpus",
            "is 4, but tensor_parallel_size is 2",
        ),
        ({"serving": {"profile": "huge"}}, "spec.serving.profile", "huge is no profile of this cluster's.*: cpu-only"),
    ],
)
def test_what_cannot_be_had_is_refused(spec: dict[str, Any], path: str, problem: str) -> None:
    with pytest.raises(SpecError, match=problem) as caught:
        hardware(spec)
    assert caught.value.path == path


def test_a_profile_without_gpus_is_a_warning_that_names_it() -> None:
    (warning,) = hardware({"cuda": True, "serving": {"profile": "cpu-only"}}).warnings
    assert warning.reason == "CudaUnavailable"
    assert "the profile cpu-only has no GPUs" in warning.message


@pytest.mark.parametrize(
    ("resource", "spec", "image"),
    [
        (GPU, {"cuda": True}, "diffusers-cuda:1"),
        ("nvidia.com/mig-1g.10gb", {"serving": {"gpus": 1}}, "diffusers-cuda:1"),
        (GPU, {"serving": {"resources": {"limits": {GPU: "1"}}}}, "diffusers-cuda:1"),
        (GPU, {}, None),
        (GPU, {"cuda": True, "serving": {"gpus": 0}}, None),
    ],
)
def test_nvidias_gpus_come_with_an_image_that_uses_them(resource: str, spec: dict[str, Any], image: str | None) -> None:
    settings = OperatorSettings(
        gpu_profile=Profile(gpu_resource=resource), runtime_image_diffusers_cuda="diffusers-cuda:1"
    )
    found = hardware(spec, settings=settings)
    assert (found.image, found.warnings) == (image, [])


def test_an_image_of_the_profile_wins() -> None:
    lent = Profile(gpu_resource=GPU, images={"diffusers": "own:1", "sdcpp": "other:1"})
    assert hardware({"cuda": True}, settings=OperatorSettings(gpu_profile=lent)).image == "own:1"


def test_gpus_that_no_image_can_use_are_a_warning() -> None:
    lent = Profile(gpu_resource="amd.com/gpu")
    (warning,) = hardware({"cuda": True}, settings=OperatorSettings(gpu_profile=lent)).warnings
    assert warning.reason == "GPUImageMissing"
    assert "amd.com/gpu" in warning.message
    by_hand = {"cuda": True, "serving": {"resources": {"limits": {"amd.com/gpu": "1"}}}}
    (warning,) = hardware(by_hand, settings=OperatorSettings(gpu_profile=Profile(gpu_resource=GPU))).warnings
    assert warning.reason == "GPUImageMissing"
    assert "A replica gets amd.com/gpu, but no image" in warning.message
    with_image = lent.model_copy(update={"images": {"diffusers": "rocm:1"}})
    found = hardware({"cuda": True}, settings=OperatorSettings(gpu_profile=with_image))
    assert (found.image, found.warnings) == ("rocm:1", [])


def test_a_profile_with_gpus_that_are_not_asked_for_is_a_warning() -> None:
    settings = OperatorSettings(profiles={"large": Profile(gpu_resource=GPU)})
    (warning,) = hardware({"serving": {"profile": "large"}}, settings=settings).warnings
    assert warning.reason == "GPUNotRequested"
    assert "the profile large" in warning.message.lower()
    assert hardware({"serving": {"profile": "large", "gpus": 0}}, settings=settings).warnings == []
    assert hardware({"serving": {"profile": "large", "gpus": 1}}, settings=settings).warnings == []


def test_an_extended_resource_given_by_hand_stands_alone() -> None:
    limits = {"amd.com/gpu": "1"}
    assert hardware({"cuda": True, "serving": {"resources": {"limits": limits}}}).resources == {"limits": limits}


@pytest.mark.parametrize(
    ("given", "lent", "limits"),
    [
        (GPU, {"rdma/hca": "1"}, {"rdma/hca": "1", GPU: "2"}),
        (GPU, {GPU: "4"}, {GPU: "4"}),
        (None, {"gpu.intel.com/xe": "1"}, {"gpu.intel.com/xe": "1"}),
    ],
)
def test_other_devices_of_a_profile_stand_beside_its_gpus(
    given: str | None, lent: dict[str, str], limits: dict[str, str]
) -> None:
    profile = Profile.model_validate({"gpuResource": given, "resources": {"limits": lent}})
    found = hardware({"serving": {"gpus": 2}}, settings=OperatorSettings(gpu_profile=profile))
    assert (found.resources, found.warnings) == ({"limits": limits}, [])


def test_resources_come_from_the_model_or_its_profile_or_the_settings() -> None:
    own = {"requests": {"cpu": "8"}}
    lent = Profile.model_validate({"gpuResource": GPU, "resources": {"requests": {"cpu": "4"}}})
    settings = OperatorSettings(gpu_profile=lent)
    assert hardware({}, settings=settings).resources == {"requests": {"cpu": "1", "memory": "2Gi"}}
    assert hardware({"cuda": True}, settings=settings).resources == {
        "requests": {"cpu": "4"},
        "limits": {GPU: "1"},
    }
    assert hardware({"serving": {"resources": own}}, settings=settings).resources == own
    assert hardware({"serving": {"resources": {}}}, settings=settings).resources == {}


def test_memory_is_asked_for_the_weights_where_nothing_is_given() -> None:
    weights = 6 * 2**30 + 1
    assert hardware({}, size=weights).resources["requests"] == {"cpu": "1", "memory": f"{8 * 1024 + 1}Mi"}
    given = {"requests": {"memory": "1Gi"}}
    assert hardware({"serving": {"resources": given}}, size=weights).resources == given


@pytest.mark.parametrize(
    ("limit", "planned"), [("6Gi", "8192Mi"), ("8G", "8192Mi"), ("8Gi", "8Gi"), ("16Gi", "16Gi"), (None, None)]
)
def test_the_default_limit_of_memory_is_as_high_as_the_request_at_least(limit: str | None, planned: str | None) -> None:
    default = Resources.model_validate({"limits": {"cpu": "4", **({"memory": limit} if limit else {})}})
    found = hardware({}, settings=OperatorSettings(runtime_resources=default), size=6 * 2**30).resources
    assert found["requests"] == {"memory": "8192Mi"}
    assert found["limits"] == {"cpu": "4", **({"memory": planned} if planned else {})}
