"""pydantic's complaints in the words of the user. What each says of a manifest is in golden/bad."""

import pytest
from pydantic import ValidationError

from heliograph_api.complaints import did_you_mean, field_path, spec_errors
from heliograph_api.spec import ImageModelSpec


def complaints(raw: object) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        ImageModelSpec.model_validate(raw)
    return [str(error) for error in spec_errors(caught.value)]


def test_every_field_at_fault_is_named() -> None:
    raw = {"step": -1, "cuda": "x", "serving": {"tolerations": [{}, {"effect": "x"}]}, "parameters": {"model": "a/b"}}
    assert [complaint.partition(": ")[0] for complaint in complaints(raw)] == [
        "spec.step",
        "spec.cuda",
        "spec.serving.tolerations[0].key",
        "spec.serving.tolerations[1].effect",
    ]


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        pytest.param({"step": 10**5000}, "spec.step: must be at most 1000, not so large a number", id="huge"),
        ({"step": None}, "spec.parameters: parameters.model is required"),
        ({"f16": {"a": 1}}, "spec.f16: must be true or false, not an object"),
        ({"f16": "x" * 65}, "spec.f16: must be true or false, not a string"),
        ({"f16": "\x1b[2J"}, "spec.f16: must be true or false, not a string"),
        ({"lora_scale": float("inf")}, "spec.lora_scale: must be a finite number, not the number inf"),
        ({"name": "\ud83d"}, "spec.name: must be Unicode text"),
        ({"options": None, "backend": 5}, "spec.backend: must be one of diffusers, "),
        (None, "spec: must be an object of keys and values, not null"),
    ],
)
def test_a_complaint_names_the_value_where_it_is_short_and_printable(raw: object, complaint: str) -> None:
    assert complaints(raw)[0].startswith(complaint)


def test_a_token_in_the_place_of_a_reference_is_not_shown() -> None:
    for reference in ("hf_secret", {"name": "hf_secret"}):
        raw = {"parameters": {"model": "a/b"}, "serving": {"hfTokenSecretRef": reference}}
        assert not [complaint for complaint in complaints(raw) if "hf_secret" in complaint]


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        ((), "spec"),
        (("step",), "spec.step"),
        (("options", 3), "spec.options[3]"),
        (("serving", "resources", "limits", "nvidia.com/gpu"), "spec.serving.resources.limits[nvidia.com/gpu]"),
        (("clip-skip",), "spec.clip-skip"),
    ],
)
def test_a_path_is_written_as_a_user_does(parts: tuple[str | int, ...], path: str) -> None:
    assert field_path(parts) == path


@pytest.mark.parametrize(
    ("value", "nearest"),
    [
        ("stepp", "step"),
        ("cfgScale", "cfg_scale"),
        ("cfg-scale", "cfg_scale"),
        ("pipelinetype", "pipeline_type"),
        ("temperature", None),
        ("x", None),
        ("", None),
    ],
)
def test_the_nearest_spelling_is_suggested(value: str, nearest: str | None) -> None:
    assert did_you_mean(value, ["step", "cfg_scale", "pipeline_type"]) == nearest
