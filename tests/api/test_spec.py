"""The typed spec: what its properties make of several keys together. What it takes and refuses is in golden/."""

from typing import Any

import pytest

from heliograph_api.errors import SpecError
from heliograph_api.serving import Serving, Toleration
from heliograph_api.spec import ImageModelSpec, parse_spec


def spec_of(**raw: Any) -> ImageModelSpec:
    return parse_spec({"parameters": {"model": "a/b"}, **raw})


def test_a_minimal_spec_wants_one_replica() -> None:
    assert spec_of().serving.replicas == 1


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ({}, False),
        ({"cuda": True}, True),
        ({"diffusers": {"cuda": True}}, True),
        ({"cuda": False, "diffusers": {"cuda": True}}, True),
        ({"cuda": False, "diffusers": {"cuda": False}}, False),
    ],
)
def test_cuda_is_wanted_in_either_place(raw: dict[str, Any], wanted: bool) -> None:
    assert spec_of(**raw).wants_cuda is wanted


@pytest.mark.parametrize(
    ("limits", "serving", "max_concurrent", "retry_after"),
    [
        ({}, {}, None, None),
        ({"max_concurrent": 4, "retry_after_seconds": 10}, {}, 4, 10),
        ({"max_concurrent": 4, "retry_after_seconds": 10}, {"maxConcurrent": 2, "retryAfterSeconds": 5}, 2, 5),
        ({"max_concurrent": 4}, {"maxConcurrent": 0}, 0, None),
        ({"retry_after_seconds": 3600}, {}, None, 120),
        ({"retry_after_seconds": 0}, {}, None, None),
    ],
)
def test_limits_of_serving_win_over_localai_s(
    limits: dict[str, int], serving: dict[str, int], max_concurrent: int | None, retry_after: int | None
) -> None:
    found = spec_of(limits=limits, serving={"limits": serving}).request_limits
    assert (found.max_concurrent, found.retry_after_seconds) == (max_concurrent, retry_after)


def test_options_of_stable_diffusion_cpp_are_told_apart() -> None:
    options = ["diffusion_model", "vae_path:a", "sampler:euler", "diffusion_models:x", "llm_path:b", "pathless:c"]
    assert spec_of(backend="sdcpp", options=options).sdcpp_options == ["diffusion_model", "vae_path:a", "llm_path:b"]


def test_serving_is_read_in_camel_case_alone_and_built_in_snake_case() -> None:
    assert spec_of(serving={"nodeSelector": {"a": "b"}}).serving.node_selector == {"a": "b"}
    assert spec_of(serving={"node_selector": {"a": "b"}}).serving.node_selector is None
    assert Serving(node_selector={"a": "b"}).model_dump(by_alias=True, exclude_none=True) == {
        "replicas": 1,
        "nodeSelector": {"a": "b"},
    }
    assert Toleration(key="gpu", operator="Exists").operator == "Exists"


def test_unknown_keys_are_kept() -> None:
    spec = spec_of(stepp=3, template={"chat": "x"})
    assert spec.unknown_keys == ["stepp", "template"]
    assert spec.model_dump()["template"] == {"chat": "x"}


@pytest.mark.parametrize("raw", [None, [], "a/b", 5])
def test_a_spec_is_an_object(raw: Any) -> None:
    with pytest.raises(SpecError, match=r"^spec: must be an object of keys and values"):
        parse_spec(raw)
