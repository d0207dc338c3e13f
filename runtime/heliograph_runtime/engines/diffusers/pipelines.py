"""Which class of diffusers a model is loaded with."""

import logging
from typing import Any

import diffusers

from heliograph_runtime.engines.diffusers.modes import exported, relatives
from heliograph_runtime.engines.protocol import LoadError

# The class that the files name is meant; the last is LocalAI's name for it where clips are drawn.
_BY_FILES = frozenset({
    "autopipelinefortext2image", "autopipelineforimage2image", "autopipelineforinpainting", "diffusionpipeline",
    "videodiffusionpipeline",
})  # fmt: skip
# LocalAI's name for a FLUX.1 transformer in a single file, which draws with the rest of a FLUX.1 repository.
_ALIASES = {"fluxtransformer2dmodel": "FluxPipeline"}
# LocalAI's gallery names the first class for weights that are made for the second.
_SUCCESSORS = {"QwenImageEditPipeline": "QwenImageEditPlusPipeline"}

log = logging.getLogger(__name__)


def find_pipeline(pipeline_type: str, *, named_by_files: str) -> Any:
    """Return the pipeline class to load a model with; `modes.relatives` has those that share its weights.

    Args:
        pipeline_type: `diffusers.pipeline_type` in any case: a class that diffusers exports; empty,
            `DiffusionPipeline` or an `AutoPipeline` for the one that the files name; or one of LocalAI's own names.
        named_by_files: Class in the model's model_index.json.

    Raises:
        LoadError: There is no such class, or it draws from something that no request can give.
    """
    wanted = pipeline_type.lower()
    name = named_by_files if not wanted or wanted in _BY_FILES else _ALIASES.get(wanted, pipeline_type)
    found = exported(name)
    if found is None:
        raise LoadError(
            "UnknownPipeline",
            f"diffusers.pipeline_type: diffusers {diffusers.__version__} has no pipeline called {name!r}; "
            f"write one of its class names, such as {named_by_files or 'StableDiffusionPipeline'}, or leave it out",
        )
    if _SUCCESSORS.get(found.__name__) == named_by_files:
        log.warning("diffusers.pipeline_type: the files are made for %s, which is used", named_by_files)
        found = exported(named_by_files)
    if not relatives(found):
        raise LoadError(
            "UnsupportedPipeline",
            f"diffusers.pipeline_type: {found.__name__} draws no pictures, or draws them from something that no "
            "request can give; use a pipeline that draws from text or pictures",
        )
    return found
