"""Rules on an ImageModel's spec as a whole: it names weights, and no two of its fields contradict each other.

Each check takes an `ImageModelSpec`; its CEL twin says the same to the API server.
"""

import re
from collections.abc import Iterable
from typing import Any

from heliograph_api.rules import Rule

SDCPP_BACKENDS = ("stablediffusion", "stablediffusion-ggml", "sdcpp")

_SDCPP_OPTION = "^([a-z0-9_]+_path:|diffusion_model(:|$))"
_MODEL_OPTION = "^diffusion_model_path:."

_HAS_BACKEND = "(has(self.backend) && self.backend != '')"
_HAS_ALIAS = "(has(self.alias) && self.alias != '')"
_HAS_MODEL = "(has(self.parameters) && has(self.parameters.model) && self.parameters.model != '')"
_HAS__MODEL_OPTION = f"(has(self.options) && self.options.exists(o, o.matches('{_MODEL_OPTION}')))"
_HAS_SDCPP_OPTION = f"(has(self.options) && self.options.exists(o, o.matches('{_SDCPP_OPTION}')))"
_NAMES_SDCPP = f"(has(self.backend) && self.backend in {list(SDCPP_BACKENDS)})"
_USES_SDCPP = (
    f"({_NAMES_SDCPP} || (!{_HAS_BACKEND} && !has(self.diffusers) "
    f"&& (({_HAS_MODEL} && self.parameters.model.lowerAscii().endsWith('.gguf')) || {_HAS_SDCPP_OPTION})))"
)


def is_sdcpp_option(option: str) -> bool:
    """Return whether only stable-diffusion.cpp reads an option."""
    return re.match(_SDCPP_OPTION, option) is not None


def uses_sdcpp(*, backend: str | None, model: str, options: Iterable[str], has_diffusers: bool) -> bool:
    """Return whether stable-diffusion.cpp serves a model, by fields of its spec; `engine.choose_engine` says why."""
    if backend:
        return backend in SDCPP_BACKENDS
    return not has_diffusers and (model.lower().endswith(".gguf") or any(map(is_sdcpp_option, options)))


def _names_weights(spec: Any) -> bool:
    by_option = any(re.match(_MODEL_OPTION, option) for option in spec.options or ())
    return bool(spec.alias or spec.model or spec.artifacts or by_option)


def _has_any(spec: Any, *fields: str) -> bool:
    return any(getattr(spec, field) is not None for field in fields)


SPEC_RULES = (
    Rule(
        cel=f"{_HAS_MODEL} || {_HAS_ALIAS} || has(self.artifacts) || {_HAS__MODEL_OPTION}",
        message="parameters.model is required: name the weights by a repository id, a path or a URI",
        check=_names_weights,
        field="parameters",
    ),
    Rule(
        cel=f"!{_HAS_ALIAS} || !(has(self.backend) || has(self.parameters) || has(self.diffusers) "
        "|| has(self.options) || has(self.artifacts) || has(self.download_files))",
        message="an alias is a route to another model: remove alias, or backend, parameters, diffusers, options, "
        "artifacts and download_files",
        check=lambda spec: (
            not (
                spec.alias
                and _has_any(spec, "backend", "parameters", "diffusers", "options", "artifacts", "download_files")
            )
        ),
        field="alias",
    ),
    Rule(
        cel=f"!{_HAS_ALIAS} || !has(self.name) || self.alias != self.name",
        message="an alias cannot name itself; write the name of another model",
        check=lambda spec: not (spec.alias and spec.alias == spec.name),
        field="alias",
    ),
    Rule(
        cel=f"!({_NAMES_SDCPP} && has(self.diffusers) && has(self.diffusers.pipeline_type) "
        "&& self.diffusers.pipeline_type != '')",
        message="pipeline_type belongs to the diffusers engine, but backend names stable-diffusion.cpp; remove one",
        check=lambda spec: not (spec.uses_sdcpp and spec.diffusers and spec.diffusers.pipeline_type),
        field="diffusers",
    ),
    Rule(
        cel=f"!({_HAS_SDCPP_OPTION} && (({_HAS_BACKEND} && self.backend == 'diffusers') "
        f"|| (!{_HAS_BACKEND} && has(self.diffusers))))",
        message="*_path and diffusion_model options belong to stable-diffusion.cpp, but backend or a diffusers "
        "block asks for diffusers; remove one",
        check=lambda spec: spec.uses_sdcpp or not spec.sdcpp_options,
        field="options",
    ),
    Rule(
        cel=f"!({_USES_SDCPP} && has(self.tensor_parallel_size) && self.tensor_parallel_size > 1)",
        message="stable-diffusion.cpp uses one GPU; write at most 1",
        check=lambda spec: not (spec.uses_sdcpp and (spec.tensor_parallel_size or 0) > 1),
        field="tensor_parallel_size",
    ),
    Rule(
        cel=f"!({_USES_SDCPP} && has(self.serving) && has(self.serving.gpus) && self.serving.gpus > 1)",
        message="stable-diffusion.cpp uses one GPU; write at most 1",
        check=lambda spec: not (spec.uses_sdcpp and (spec.serving.gpus or 0) > 1),
        field="serving.gpus",
    ),
    Rule(
        cel="!has(self.lora_scales) "
        "|| size(self.lora_scales) <= (has(self.lora_adapters) ? size(self.lora_adapters) : 0)",
        message="lora_scales must not have more entries than lora_adapters: each scale belongs to one adapter",
        check=lambda spec: len(spec.lora_scales or ()) <= len(spec.lora_adapters or ()),
        field="lora_scales",
    ),
    Rule(
        cel="!has(self.artifacts) || (self.artifacts.exists_one(a, !has(a.target) || a.target == 'model') "
        "&& (!has(self.artifacts[0].target) || self.artifacts[0].target == 'model'))",
        message="the first artifact, and no other, must be the model itself; give the others target: companion",
        check=lambda spec: (
            spec.artifacts is None
            or [index for index, artifact in enumerate(spec.artifacts) if artifact.target != "companion"] == [0]
        ),
        field="artifacts",
    ),
)
