"""Keys that an ImageModel does not know."""

import pytest

from heliograph_api.keys import unknown_keys


@pytest.mark.parametrize(
    ("raw", "path", "suggestion"),
    [
        ({"stepp": 1}, "spec.stepp", "spec.step"),
        ({"cfgScale": 1}, "spec.cfgScale", "spec.cfg_scale"),
        ({"scheduler_type": "x"}, "spec.scheduler_type", "spec.diffusers.scheduler_type"),
        ({"model": "x"}, "spec.model", "spec.parameters.model"),
        ({"replicas": 2}, "spec.replicas", "spec.serving.replicas"),
        ({"diffusers": {"step": 3}}, "spec.diffusers.step", "spec.step"),
        ({"diffusers": {"clip_skipp": 3}}, "spec.diffusers.clip_skipp", "spec.diffusers.clip_skip"),
        ({"parameters": {"sede": 3}}, "spec.parameters.sede", "spec.parameters.seed"),
        (
            {"artifacts": [{}, {"source": {"rep": "a"}}]},
            "spec.artifacts[1].source.rep",
            "spec.artifacts[1].source.repo",
        ),
        ({"serving": {"tolerations": [{"Key": "a"}]}}, "spec.serving.tolerations[0].Key", None),
        ({"serving": {"node_selector": {}}}, "spec.serving.node_selector", "spec.serving.nodeSelector"),
        ({"context_size": 1}, "spec.context_size", None),
        ({"a.b": 1}, "spec[a.b]", None),
    ],
)
def test_an_unknown_key_is_found(raw: dict[str, object], path: str, suggestion: str | None) -> None:
    (unknown,) = unknown_keys(raw)
    assert unknown.path == path
    if suggestion:
        assert unknown.suggestion == suggestion
        assert unknown.hint == f"; did you mean {suggestion}?"


def test_a_key_without_a_near_one_has_no_hint() -> None:
    (unknown,) = unknown_keys({"context_size": 1})
    assert unknown.suggestion is None
    assert unknown.hint == ""


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"serving": {"nodeSelector": {"any": "a"}, "resources": {"limits": {"nvidia.com/gpu": "1"}}}},
        {"diffusers": "of the wrong type", "artifacts": {"no": "list"}, "options": [1]},
    ],
)
def test_values_are_not_keys(raw: dict[str, object]) -> None:
    assert unknown_keys(raw) == []


def test_an_unprintable_or_endless_key_is_not_shown_whole() -> None:
    first, second = unknown_keys({"\x1b[2J": 1, "x" * 5000: 1})
    assert first.path.isprintable()
    assert len(second.path) < 64
