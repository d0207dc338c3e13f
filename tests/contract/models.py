"""The models behind the gateway: the same three for each engine, under the same names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

from runtime import miniature_sdcpp
from runtime.runtimes import EXAMPLES

EngineName = Literal["diffusers", "sdcpp"]
Spec = dict[str, Any]

PINNED = 5
"""Seed of the default model."""
_ALIASES = ["gpt-image-1", "gpt-image-2", "chatgpt-image-latest", "dall-e-2", "dall-e-3"]
"""Names that clients have built in."""
_PLAIN: Spec = {"step": 3, "serving": {"aliases": _ALIASES}}
"""So few steps, since most pictures only have to differ."""
_TINY: Spec = {
    "parameters": {"model": "tiny-model/model"},
    "diffusers": {"pipeline_type": "StableDiffusionPipeline"},
}
_FLUX: Spec = {
    "parameters": {"model": "flux.gguf"},
    "options": ["clip_l_path:clip_l.safetensors", "taesd_path:taef1.safetensors"],
    # A second thread wins little with so small a model, and loses much where the machine has other work.
    "threads": 1,
}
SPECS: Mapping[EngineName, Mapping[str, Spec]] = {
    "diffusers": {
        "plain": {**_TINY, **_PLAIN, "cfg_scale": 4, "parameters": {**_TINY["parameters"], "seed": PINNED}},
        "adapted": {
            **_TINY,
            "lora_adapters": ["tiny-model/lora_green"],
            "lora_scales": [0],
            "diffusers": {**_TINY["diffusers"], "control_net": "tiny-model/controlnet_outline"},
            "serving": {"splitPrompt": False},
        },
        "compatible": {**_TINY, "serving": {"compat": "sd-api-server"}},
    },
    "sdcpp": {
        "plain": {**_FLUX, **_PLAIN, "cfg_scale": 1, "parameters": {**_FLUX["parameters"], "seed": PINNED}},
        "adapted": {
            **_FLUX,
            "lora_adapters": ["kohya.safetensors"],
            "lora_scales": [0],
            "options": [*_FLUX["options"], "upscale_model_path:upscaler.safetensors"],
            # The miniature draws 1024x1024 pixels, its own size, for most of a minute; a limit makes that less.
            "serving": {"splitPrompt": False, "limits": {"maxPixels": 128 * 128}},
        },
        "compatible": {**_FLUX, "serving": {"compat": "sd-api-server"}},
    },
}
"""The models of each engine.

`plain`, the default model, has values of its own. `adapted` has none; it has a LoRA, of no weight unless a request
gives it one, and a `|` is part of its prompts. `compatible` has the defaults of sd-api-server. For diffusers they are
Stable Diffusion 1, tiny and trained, with a ControlNet for `adapted`; for sdcpp FLUX.1 [dev], a miniature that draws no
things, with a model that enlarges for `adapted`.
"""
only_diffusers = pytest.mark.parametrize("engine", ["diffusers"], indirect=True)
"""Marks tests of what no engine has a part in; each file's docstring says why."""


def find_models(engine: EngineName, folder: Path) -> Path:
    """Return the folder of an engine's models; what is not in the repository is made in `folder`."""
    if engine == "diffusers":
        return EXAMPLES
    miniature_sdcpp.save_flux(folder)
    miniature_sdcpp.save_flux_lora(folder / "kohya.safetensors")
    miniature_sdcpp.save_upscaler(folder / "upscaler.safetensors")
    return folder
