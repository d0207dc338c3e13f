"""Which class of diffusers draws a model's pictures."""

from inspect import signature
from typing import Any

import diffusers

from heliograph_runtime.engines.protocol import LoadError

_AUTO = "AutoPipelineForText2Image"
_ALSO_NEEDED = ("image", "control_image", "num_frames")


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
    inputs = signature(found.__call__).parameters
    if "prompt" in inputs and not any(name in inputs for name in _ALSO_NEEDED):
        return found
    relative = _text_to_image(found)
    if relative is found or (relative is not None and automatic):
        return relative
    raise LoadError(
        "UnsupportedPipeline",
        f"diffusers.pipeline_type: {found.__name__} does not draw images from text alone, and nothing else is served "
        f"yet by this version; use {relative.__name__ if relative else 'a text-to-image pipeline'}",
    )


def _exported(name: str) -> Any:
    names = {exported.lower(): exported for exported in dir(diffusers) if exported.endswith("Pipeline")}
    found = getattr(diffusers, names.get(name.lower(), ""), None)
    return found if isinstance(found, type) and issubclass(found, diffusers.DiffusionPipeline) else None


def _text_to_image(found: Any) -> Any:
    """Return the text-to-image pipeline of the family of a pipeline that has other inputs too, or None.

    It may be the same: FLUX.2 draws with an image or without.
    """
    # Imports the pipelines of all families, which takes a second.
    from diffusers.pipelines import auto_pipeline as auto  # noqa: PLC0415

    if found in auto.AUTO_TEXT2IMAGE_PIPELINES_MAPPING.values():
        return None if "Control" in found.__name__ else found
    for mapping in (auto.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING, auto.AUTO_INPAINT_PIPELINES_MAPPING):
        for family, pipeline in mapping.items():
            if pipeline is found:
                return auto.AUTO_TEXT2IMAGE_PIPELINES_MAPPING.get(family)
    return None
