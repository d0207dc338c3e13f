"""Warnings about a spec. Most are expected in the headers of golden/good."""

from typing import Any

import pytest

from heliograph_api.advice import _FOREIGN_KEYS, _FOREIGN_PARAMETERS, spec_warnings
from heliograph_api.spec import ImageModelSpec, parse_spec
from heliograph_api.status import MAX_WARNINGS, ImageModelStatus, SpecWarning

MODEL = {"parameters": {"model": "stabilityai/sdxl-turbo"}}


def warnings_of(**raw: Any) -> list[SpecWarning]:
    raw = {**MODEL, **raw}
    return spec_warnings(raw, parse_spec(raw))


def the_warning(**raw: Any) -> tuple[str, str]:
    (warning,) = warnings_of(**raw)
    return warning.reason, warning.message


def test_a_plain_model_has_no_warning() -> None:
    assert warnings_of() == []


def test_a_misspelt_key_comes_with_the_right_spelling() -> None:
    message = "spec.stepp: is not a known key and has no effect; did you mean spec.step?"
    assert the_warning(stepp=30) == ("UnknownKey", message)


def test_a_key_of_localai_is_not_called_unknown() -> None:
    reason, message = the_warning(context_size=4096)
    assert reason == "NoEffect"
    assert message.startswith("spec.context_size: ")


def test_localai_keys_without_effect_are_no_keys_of_an_imagemodel() -> None:
    assert not _FOREIGN_KEYS & set(ImageModelSpec.model_fields)
    assert not _FOREIGN_PARAMETERS & {"model", "seed", "negative_prompt", "clip_skip"}


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ({"lora_base": "base"}, "spec.lora_base"),
        ({"mmproj": "mmproj.gguf"}, "spec.mmproj"),
        ({"grpc": {"attempts": 3}}, "spec.grpc"),
        ({"diffusers": {"clip_model": "a/b"}}, "spec.diffusers.clip_model"),
        ({"diffusers": {"clip_subfolder": "text_encoder"}}, "spec.diffusers.clip_subfolder"),
        ({"backend": "sdcpp", "diffusers": {"scheduler_type": "euler"}}, "spec.diffusers.scheduler_type"),
        ({"backend": "sdcpp", "f16": True}, "spec.f16"),
    ],
)
def test_a_key_without_effect_comes_with_a_remedy(raw: dict[str, Any], path: str) -> None:
    reason, message = the_warning(**raw)
    assert reason == "NoEffect"
    assert message.startswith(f"{path}: has no effect: ")
    assert "remove it" in message or "write" in message


@pytest.mark.parametrize("option", ["max_vram:-1", "vae_decode_only:true", "vae_decode_only"])
def test_an_option_that_is_taken_without_effect_is_named(option: str) -> None:
    reason, message = the_warning(backend="sdcpp", options=["sampler:euler", option])
    assert reason == "NoEffect"
    assert message.startswith(f"spec.options[1]: {option} has no effect: ")


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ("rpc_servers:a:1", "it needs a newer stable-diffusion.cpp"),
        ("backend:te=cpu,vae=cuda0", "vae=cuda0 needs a newer stable-diffusion.cpp; te=cpu, "),
        ("clip_l_pth:a.gguf", "stable-diffusion.cpp has no option of this name; did you mean clip_l_path?"),
    ],
)
def test_an_option_that_stops_the_load_is_told_before_anything_is_fetched(option: str, why: str) -> None:
    reason, message = the_warning(backend="sdcpp", options=[option])
    assert reason == "OptionRefused"
    assert message.startswith(f"spec.options[0]: {option} keeps the model from being loaded: {why}")


def test_options_that_are_followed_and_those_of_the_other_engine_are_not_warned_of() -> None:
    options = ["vae_decode_only:false", "stream_layers:0", "max_vram:8", "backend:te=cpu", "vae_path:a.gguf"]
    assert warnings_of(backend="sdcpp", options=options) == []
    assert warnings_of(backend="diffusers", options=["max_vram:-1", "rpc_servers:a:1"]) == []


@pytest.mark.parametrize("raw", [{"lora_base": ""}, {"diffusers": {"clip_model": ""}}, {"f16": False}])
def test_an_empty_value_is_no_matter(raw: dict[str, Any]) -> None:
    assert warnings_of(**raw) == []


@pytest.mark.parametrize(
    ("written", "meant"),
    [("k_dpp_sde", "k_dpmpp_sde"), ("dpp_2m", "dpmpp_2m"), ("k_dpp_2m_sde", "k_dpmpp_2m_sde")],
)
def test_a_sampler_that_localai_misspells_is_read_as_meant(written: str, meant: str) -> None:
    message = f"spec.diffusers.scheduler_type: {written} is read as {meant}"
    assert the_warning(diffusers={"scheduler_type": written}) == ("SpellingCorrected", message)


@pytest.mark.parametrize("written", ["k_dpmpp_sde", "dpm_2", "euler_a", "dpp_custom", ""])
def test_a_sampler_in_its_right_spelling_is_left_alone(written: str) -> None:
    assert warnings_of(diffusers={"scheduler_type": written}) == []


def test_half_precision_on_a_cpu_is_pointed_out() -> None:
    reason, message = the_warning(f16=True)
    assert reason == "HalfPrecisionNeedsGPU"
    assert "set cuda: true" in message


@pytest.mark.parametrize(
    "raw",
    [
        {"cuda": True},
        {"diffusers": {"cuda": True}},
        {"tensor_parallel_size": 2},
        {"serving": {"gpus": 1}},
        {"serving": {"profile": "l4"}},
        {"serving": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}},
    ],
)
def test_half_precision_on_a_gpu_is_not(raw: dict[str, Any]) -> None:
    assert warnings_of(f16=True, **raw) == []


def test_there_are_never_more_than_the_status_holds() -> None:
    warnings = warnings_of(**{f"key{number}": "x" for number in range(500)})
    assert len(warnings) == MAX_WARNINGS
    assert warnings[-1].message == f"spec: {500 - MAX_WARNINGS + 1} more keys have no effect"
    ImageModelStatus(warnings=warnings)


def test_a_warning_of_the_longest_key_fits_the_status() -> None:
    (warning,) = warnings_of(**{"k" * 100_000: 1})
    assert len(warning.message) < 300


def test_reasons_are_words_in_camel_case() -> None:
    raw = {"stepp": 1, "mmap": True, "f16": True, "limits": {"retry_after_seconds": 200}}
    reasons = {warning.reason for warning in warnings_of(**raw, diffusers={"scheduler_type": "k_dpp_sde"})}
    assert reasons == {"UnknownKey", "NoEffect", "HalfPrecisionNeedsGPU", "ValueLimited", "SpellingCorrected"}
