"""Which class of diffusers draws a model's pictures."""

from inspect import signature
from typing import Any

import diffusers
from diffusers.pipelines.auto_pipeline import (
    AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
    AUTO_INPAINT_PIPELINES_MAPPING,
    AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
)

from heliograph_runtime.engines.protocol import LoadError

_AUTO = "AutoPipelineForText2Image"
_FROM_IMAGES = (AUTO_IMAGE2IMAGE_PIPELINES_MAPPING, AUTO_INPAINT_PIPELINES_MAPPING)


def find_pipeline(pipeline_type: str, *, named_by_files: str) -> Any:
    """Return the pipeline class for text to image.

    Args:
        pipeline_type: `diffusers.pipeline_type` in any case: a class that diffusers exports, `DiffusionPipeline` for
            the one that the files name, or empty (AutoPipelineForText2Image) for that one's text-to-image relative.
        named_by_files: Class in the model's model_index.json.

    Raises:
        LoadError: There is no such class, or it draws from something else than text.
    """
    wanted = pipeline_type or _AUTO
    automatic = wanted.lower() == _AUTO.lower()
    name = named_by_files if automatic or wanted.lower() == "diffusionpipeline" else wanted
    found = _exported(name)
    if found is None:
        raise LoadError(
            "UnknownPipeline",
            f"diffusers.pipeline_type: diffusers {diffusers.__version__} has no pipeline called {name!r}; "
            f"write one of its class names, such as {named_by_files or 'StableDiffusionPipeline'}, or leave it out",
        )
    relative = _text_to_image(found)
    if relative is None or (relative is not found and not automatic):
        raise LoadError(
            "UnsupportedPipeline",
            f"diffusers.pipeline_type: {found.__name__} does not draw images from text alone, and nothing else is "
            f"served yet by this version; use {relative.__name__ if relative else 'a text-to-image pipeline'}",
        )
    return relative


def _exported(name: str) -> Any:
    names = {exported.lower(): exported for exported in dir(diffusers) if exported.endswith("Pipeline")}
    found = getattr(diffusers, names.get(name.lower(), ""), None)
    return found if isinstance(found, type) and issubclass(found, diffusers.DiffusionPipeline) else None


def _text_to_image(found: Any) -> Any:
    """Return a pipeline itself if it draws from text alone, else its relative that does, or None."""
    for mapping in _FROM_IMAGES:
        family = next((family for family, pipeline in mapping.items() if pipeline is found), None)
        if family is not None and found not in AUTO_TEXT2IMAGE_PIPELINES_MAPPING.values():
            return AUTO_TEXT2IMAGE_PIPELINES_MAPPING.get(family)
    inputs = signature(found.__call__).parameters
    if "prompt" not in inputs or "num_frames" in inputs or "Control" in found.__name__:
        return None
    optional = found in AUTO_TEXT2IMAGE_PIPELINES_MAPPING.values()  # FLUX.2 draws with an image or without
    return found if optional or "image" not in inputs else None
