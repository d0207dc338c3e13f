"""The choice of the engine."""

from typing import Any

import pytest

from api.golden_cases import good_cases
from heliograph_api.engine import choose_engine
from heliograph_api.errors import SpecError
from heliograph_api.manifest import read_manifests
from heliograph_api.spec import parse_spec

REPOSITORY = {"parameters": {"model": "stabilityai/sdxl-turbo"}}
GGUF = {"parameters": {"model": "flux1-dev-Q2_K.gguf"}}
SAFETENSORS = {"parameters": {"model": "model.safetensors"}}


@pytest.mark.parametrize(
    ("raw", "engine", "reason"),
    [
        (REPOSITORY | {"backend": "diffusers"}, "diffusers", "backend is diffusers"),
        (GGUF | {"backend": "diffusers"}, "diffusers", "backend is diffusers"),
        (REPOSITORY | {"backend": "stablediffusion-ggml"}, "sdcpp", "backend is stablediffusion-ggml"),
        (REPOSITORY | {"backend": "stablediffusion"}, "sdcpp", "backend is stablediffusion"),
        (SAFETENSORS | {"backend": "sdcpp", "diffusers": {"cuda": True}}, "sdcpp", "backend is sdcpp"),
        (GGUF | {"diffusers": {}}, "diffusers", "the spec has a diffusers block"),
        (GGUF, "sdcpp", "parameters.model is a GGUF file"),
        ({"parameters": {"model": "hf://a/b/Model.GGUF"}}, "sdcpp", "parameters.model is a GGUF file"),
        (SAFETENSORS | {"options": ["diffusion_model"]}, "sdcpp", "option diffusion_model belongs to"),
        (SAFETENSORS | {"options": ["step:1", "vae_path:a"]}, "sdcpp", "option vae_path belongs to"),
        (SAFETENSORS | {"options": ["torch_dtype:bf16"]}, "diffusers", "no backend, GGUF file or"),
        (SAFETENSORS, "diffusers", "no backend, GGUF file or"),
        (REPOSITORY | {"backend": ""}, "diffusers", "no backend, GGUF file or"),
        (REPOSITORY, "diffusers", "no backend, GGUF file or"),
    ],
)
def test_the_spec_alone_decides(raw: dict[str, Any], engine: str, reason: str) -> None:
    choice = choose_engine(parse_spec(raw))
    assert choice.name == engine
    assert choice.reason.startswith(reason)


def test_an_alias_has_none() -> None:
    with pytest.raises(SpecError, match="no engine of its own") as caught:
        choose_engine(parse_spec({"alias": "flux"}))
    assert caught.value.path == "spec.alias"


def test_rules_and_choice_agree_on_every_golden_model() -> None:
    for case in good_cases("good"):
        (model,) = read_manifests(case.text, default_name=case.file.stem)
        if case.engine != "none":
            assert model.spec.uses_sdcpp == (choose_engine(model.spec).name == "sdcpp"), case.file.name
