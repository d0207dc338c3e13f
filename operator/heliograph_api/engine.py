"""Which engine serves a model, decided from the spec alone, before any weights are there."""

from dataclasses import dataclass
from typing import Literal

from heliograph_api.errors import SpecError
from heliograph_api.spec import SDCPP_BACKENDS, ImageModelSpec

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
        SpecError: The spec names no weights, or is an alias.
    """
    if spec.alias:
        raise SpecError("spec.alias", "an alias has no engine of its own")
    if spec.backend:
        name: Engine = "sdcpp" if spec.backend in SDCPP_BACKENDS else "diffusers"
        return EngineChoice(name, f"backend is {spec.backend}")
    if spec.diffusers is not None:
        if spec.sdcpp_options:
            raise SpecError(
                "spec.options",
                f"{spec.sdcpp_options[0].partition(':')[0]} belongs to stable-diffusion.cpp, but there is a diffusers "
                "block; remove one, or set backend",
            )
        return EngineChoice("diffusers", "the spec has a diffusers block")
    if spec.model.lower().endswith(".gguf"):
        return EngineChoice("sdcpp", "parameters.model is a GGUF file")
    if spec.sdcpp_options:
        return EngineChoice(
            "sdcpp", f"option {spec.sdcpp_options[0].partition(':')[0]} belongs to stable-diffusion.cpp"
        )
    if not spec.model and not spec.artifacts:
        raise SpecError("spec.parameters.model", "is required: name the weights by a repository id, a path or a URI")
    return EngineChoice("diffusers", "no backend, GGUF file or stable-diffusion.cpp option is named")
