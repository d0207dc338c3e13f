"""What of a spec is not done as it is written: keys without a field or an effect, spellings, values that are cut.

The warnings stand in `status.warnings`, and `heliograph serve` prints them.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from heliograph_api.keys import UnknownKey, unknown_keys
from heliograph_api.sdcpp_options import read_option
from heliograph_api.serving import MAX_RETRY_AFTER
from heliograph_api.spec import ImageModelSpec
from heliograph_api.status import MAX_WARNINGS, SpecWarning

# LocalAI `core/config/model_config.go`: what ModelConfig and LLMConfig have beside the keys of ImageModelSpec.
_FOREIGN_KEYS = frozenset({
    "agent", "cache_type_k", "cache_type_v", "chat_template_kwargs", "compression", "context_size", "cutstrings",
    "debug", "disable_log_stats", "draft_model", "dtype", "embeddings", "enforce_eager", "engine_args", "env",
    "extract_regex", "failover", "feature_flags", "flash_attention", "function", "gpu_layers",
    "gpu_memory_utilization", "grammar", "limit_mm_per_prompt", "load_format", "main_gpu", "max_model_len", "mcp",
    "mirostat", "mirostat_eta", "mirostat_tau", "mitm", "mmap", "mmlock", "n_draft", "ngqa", "no_kv_offloading",
    "no_mulmatq", "numa", "overrides", "pii", "pii_detection", "pipeline", "prompt_cache_all", "prompt_cache_path",
    "prompt_cache_ro", "proxy", "quantization", "reasoning", "reasoning_effort", "reranking", "rms_norm_eps", "roles",
    "rope_scaling", "router", "stopwords", "swap_space", "system_prompt", "template", "tensor_split", "trimspace",
    "trimsuffix", "trust_remote_code", "tts", "type", "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow",
    "yarn_ext_factor",
})  # fmt: skip
# LocalAI `core/schema/prediction.go`; `keep` is what its documentation calls `n_keep`.
_FOREIGN_PARAMETERS = frozenset({
    "batch", "echo", "encoding_format", "frequency_penalty", "ignore_eos", "keep", "language", "logit_bias",
    "logprobs", "max_tokens", "min_p", "n", "n_keep", "negative_prompt_scale", "presence_penalty", "repeat_last_n",
    "repeat_penalty", "rope_freq_base", "rope_freq_scale", "temperature", "tfz", "tokenizer", "top_k", "top_logprobs",
    "top_p", "translate", "typical_p",
})  # fmt: skip
_FOREIGN = {
    "spec": _FOREIGN_KEYS,
    "spec.parameters": _FOREIGN_PARAMETERS,
    # Written by LocalAI's installer, never by a user.
    "spec.artifacts": frozenset({"resolved"}),
}

# LocalAI's documentation names `k_dpp_sde` as the default, for which it has no scheduler.
_MISSPELT = re.compile(r"^(k_)?dpp_(?=2m|sde)")

_DEAD = {
    ("lora_base",): "neither LocalAI's image engines nor Heliograph's read it; remove it",
    ("mmproj",): "it belongs to language models; remove it",
    ("grpc",): "Heliograph does not use gRPC; remove it",
    ("diffusers", "clip_model"): "neither LocalAI nor Heliograph reads it; remove it",
    ("diffusers", "clip_subfolder"): "neither LocalAI nor Heliograph reads it; remove it",
}
_DIFFUSERS_ONLY = {
    ("f16",): "the model's file decides the precision; remove it",
    ("diffusers", "scheduler_type"): "write options such as sampler:euler_a and scheduler:karras",
    ("diffusers", "enable_parameters"): "remove it",
    ("diffusers", "img2img"): "remove it",
    ("diffusers", "control_net"): "write the option control_net_path",
}
_BESIDE_ALIAS = {"name", "alias", "description", "usage", "disabled", "known_usecases", "serving"}


def spec_warnings(raw_spec: Mapping[str, Any], spec: ImageModelSpec) -> list[SpecWarning]:
    """Return a warning for each thing in a valid spec that is not done as written, at most `MAX_WARNINGS`.

    The reasons are UnknownKey, NoEffect, OptionRefused, SpellingCorrected, ValueLimited and HalfPrecisionNeedsGPU.

    Args:
        raw_spec: The spec as it was written.
        spec: Its typed form.
    """
    warnings = [
        *map(_about_unknown_key, unknown_keys(raw_spec)),
        *_about_dead_keys(spec),
        *(_about_alias(spec) if spec.alias else _about_model(spec)),
    ]
    if len(warnings) <= MAX_WARNINGS:
        return warnings
    rest = len(warnings) - MAX_WARNINGS + 1
    return [*warnings[: MAX_WARNINGS - 1], _warning("MoreWarnings", "spec", f"{rest} more keys have no effect")]


def _warning(reason: str, path: str, problem: str) -> SpecWarning:
    return SpecWarning(reason=reason, message=f"{path}: {problem}")


def _about_unknown_key(key: UnknownKey) -> SpecWarning:
    if key.name in _FOREIGN.get(key.parent, ()):
        return _warning("NoEffect", key.path, "LocalAI knows this key, but it has no effect on an image model here")
    return _warning("UnknownKey", key.path, f"is not a known key and has no effect{key.hint}")


def _about_dead_keys(spec: ImageModelSpec) -> Iterator[SpecWarning]:
    for path, remedy in _DEAD.items():
        if _value(spec, path):
            yield _without_effect(path, remedy)
    for index, artifact in enumerate(spec.artifacts or ()):
        if artifact.source.token_env:
            remedy = "name the token's Secret in spec.serving.hfTokenSecretRef"
            yield _warning("NoEffect", f"spec.artifacts[{index}].source.token_env", f"has no effect; {remedy}")


def _about_alias(spec: ImageModelSpec) -> Iterator[SpecWarning]:
    for field in sorted(spec.model_fields_set & set(type(spec).model_fields) - _BESIDE_ALIAS):
        if (field,) not in _DEAD and _value(spec, (field,)) is not None:
            yield _without_effect((field,), "an alias takes everything from the model that it names; remove it")


def _about_model(spec: ImageModelSpec) -> Iterator[SpecWarning]:
    if spec.uses_sdcpp:
        for path, remedy in _DIFFUSERS_ONLY.items():
            if _value(spec, path):
                yield _without_effect(path, f"stable-diffusion.cpp serves this model; {remedy}")
        yield from _about_options(spec)
    elif spec.f16 and not _asks_for_gpu(spec):
        problem = "a CPU computes in full precision; set cuda: true to run on a GPU, or remove f16"
        yield _warning("HalfPrecisionNeedsGPU", "spec.f16", problem)
    written = (not spec.uses_sdcpp and spec.diffusers and spec.diffusers.scheduler_type) or ""
    if _MISSPELT.match(written):
        meant = _MISSPELT.sub(r"\1dpmpp_", written)
        yield _warning("SpellingCorrected", "spec.diffusers.scheduler_type", f"{written} is read as {meant}")
    seconds = spec.limits and spec.limits.retry_after_seconds
    if seconds and seconds > MAX_RETRY_AFTER:
        problem = f"{seconds} is sent as {MAX_RETRY_AFTER}, above which OpenAI's clients give up without a retry"
        yield _warning("ValueLimited", "spec.limits.retry_after_seconds", problem)


def _about_options(spec: ImageModelSpec) -> Iterator[SpecWarning]:
    for index, option in enumerate(spec.options or ()):
        reading, path = read_option(option), f"spec.options[{index}]"
        if reading.refused:
            yield _warning("OptionRefused", path, f"{option} keeps the model from being loaded: {reading.lost}")
        elif reading.lost:
            yield _warning("NoEffect", path, f"{option} has no effect: {reading.lost}")


def _asks_for_gpu(spec: ImageModelSpec) -> bool:
    serving, resources = spec.serving, spec.serving.resources
    wanted = {*((resources and resources.requests) or ()), *((resources and resources.limits) or ())}
    many = spec.tensor_parallel_size or 0
    return bool(spec.wants_cuda or many > 1 or serving.gpus or serving.profile or any("gpu" in name for name in wanted))


def _without_effect(path: tuple[str, ...], remedy: str) -> SpecWarning:
    return _warning("NoEffect", ".".join(("spec", *path)), f"has no effect: {remedy}")


def _value(spec: ImageModelSpec, path: tuple[str, ...]) -> Any:
    value: Any = spec
    for field in path:
        value = getattr(value, field, None)
    return value
