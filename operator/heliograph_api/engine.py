"""Which engine serves a model, decided from the spec alone, before any weights are there."""

from dataclasses import dataclass
from typing import Literal

from heliograph_api.errors import SpecError
from heliograph_api.spec import ImageModelSpec

Engine = Literal["diffusers", "sdcpp"]


@dataclass(frozen=True)
class EngineChoice:
    """An engine and the sentence that says why, as `status.engine` shows it."""

    name: Engine
    reason: str


def choose_engine(spec: ImageModelSpec) -> EngineChoice:
    """Return the engine of a model that is no alias.

    The order is: `backend`; a `diffusers` block; a .gguf file or an option that only stable-diffusion.cpp reads; else
    diffusers, for a repository id as for a bare .safetensors.

    Raises:
        SpecError: The spec is an alias.
    """
    if spec.alias:
        raise SpecError("spec.alias", "an alias has no engine of its own; ask for that of the model it names")
    return EngineChoice("sdcpp" if spec.uses_sdcpp else "diffusers", _reason(spec))


def _reason(spec: ImageModelSpec) -> str:
    if spec.backend:
        return f"backend is {spec.backend}"
    if spec.diffusers is not None:
        return "the spec has a diffusers block"
    if spec.model.lower().endswith(".gguf"):
        return "parameters.model is a GGUF file"
    if spec.sdcpp_options:
        return f"option {spec.sdcpp_options[0].partition(':')[0]} belongs to stable-diffusion.cpp"
    return "no backend, GGUF file or stable-diffusion.cpp option is named"
