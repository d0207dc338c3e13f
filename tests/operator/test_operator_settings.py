"""The operator's settings, from the environment and by hand."""

import pytest
from pydantic import ValidationError

from heliograph_operator.settings import OperatorSettings


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELIOGRAPH_OPERATOR_NAMESPACES", "a, b")
    monkeypatch.setenv("HELIOGRAPH_OPERATOR_GPU_PROFILE__GPURESOURCE", "nvidia.com/gpu")
    monkeypatch.setenv(
        "HELIOGRAPH_OPERATOR_PROFILES", '{"l4": {"gpuResource": "x.com/gpu", "nodeSelector": {"a": "b"}}}'
    )
    monkeypatch.setenv("HELIOGRAPH_OPERATOR_RUNTIME_RESOURCES", '{"requests": {"cpu": "2"}}')
    settings = OperatorSettings(workers=2)
    assert settings.namespaces == ("a", "b")
    assert settings.gpu_profile is not None
    assert settings.gpu_profile.gpu_resource == "nvidia.com/gpu"
    assert settings.profiles["l4"].node_selector == {"a": "b"}
    assert settings.runtime_resources.requests == {"cpu": "2"}
    assert settings.workers == 2


def test_images_are_those_of_this_version() -> None:
    settings = OperatorSettings()
    name, _, tag = settings.runtime_image_diffusers.partition(":")
    assert name == "heliograph-runtime-diffusers"
    assert tag == settings.runtime_image_sdcpp.partition(":")[2] != ""


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"lease": True}, "lease_namespace is required with lease"),
        ({"gateway_pod_labels": {}}, "gateway_pod_labels must not be empty"),
        ({"workers": 0}, "greater than or equal to 1"),
        ({"gateway_service": "gateways"}, "should match pattern"),
        ({"gpu_profile": {"gpu": "x"}}, "Extra inputs are not permitted"),
        ({"gpu_profile": {"priorityClassName": "High"}}, "must be the name of a Kubernetes object"),
        ({"gpu_profile": {"podLabels": {"app.kubernetes.io/component": "x"}}}, "component is the operator's own"),
        (
            {"profiles": {"a": {"podLabels": {"heliograph.dev/model": "x"}}}},
            "heliograph.dev/model is the op",
        ),
        (
            {"profiles": {"a": {"podAnnotations": {"x.heliograph.dev/a": "b"}}}},
            "x.heliograph.dev/a is the",
        ),
        ({"runtime_resources": {"requests": {"cpu": "a lot"}}}, "must be a resource quantity"),
    ],
)
def test_bad_settings_are_named(given: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        OperatorSettings.model_validate(given)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        OperatorSettings().workers = 9  # type: ignore[misc]
