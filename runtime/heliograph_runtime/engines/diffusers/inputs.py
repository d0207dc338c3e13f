"""Input pictures as a pipeline's call takes them, and results in the size that was asked for."""

from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageOps

from heliograph_runtime.engines.diffusers.arguments import (
    CONTROL_IMAGE,
    IMAGE,
    LAST_IMAGE,
    call_parameters,
    spelling,
    takes_several_references,
)
from heliograph_runtime.engines.diffusers.pictures import to_image
from heliograph_runtime.engines.diffusers.video import needs_last_image
from heliograph_runtime.engines.protocol import Batch, Inputs, Raster

# FLUX.2 refuses references that are smaller or longer than these.
_MIN_REFERENCE = 64
_MAX_ASPECT = 8
# Sides that an upscaler's picture must be a multiple of, by the start of its class's name.
_UPSCALER_MULTIPLES = {"StableDiffusionLatentUpscale": 64}


def image_arguments(pipeline: Any, batch: Batch) -> dict[str, Any]:
    """Return the arguments of a pipeline's call that hold a batch's input pictures, as often as there are prompts."""
    inputs, known = batch.inputs or Inputs(), call_parameters(pipeline)
    given = {
        spelling(known, IMAGE) or "control_image": _main_images(pipeline, batch, inputs),
        "mask_image": _repeat(inputs.mask, batch),
        spelling(known, LAST_IMAGE): _repeat(_last_image(pipeline, inputs), batch),
    }
    if inputs.control:
        # A list is one for each kind to a ControlNet for several kinds; its pipelines repeat a picture by themselves.
        union = "Union" in type(pipeline).__name__
        given[spelling(known, CONTROL_IMAGE)] = to_image(inputs.control) if union else _repeat(inputs.control, batch)
    return {name: value for name, value in given.items() if name is not None and value is not None}


def _last_image(pipeline: Any, inputs: Inputs) -> Raster | None:
    """Return the last frame's picture; where the weights need one and there is none, a clip ends as it begins."""
    if inputs.last_image is None and inputs.images and needs_last_image(pipeline):
        return inputs.images[0]
    return inputs.last_image


def _main_images(pipeline: Any, batch: Batch, inputs: Inputs) -> Any:
    if not inputs.images:
        return None
    if batch.sampling.mode == "reference":
        images = [_fit_reference(to_image(image)) for image in inputs.images]
        return images if takes_several_references(pipeline) else images[0]
    if batch.sampling.mode == "upscale":
        image = to_image(inputs.images[0])
        return [image.resize(_upscaler_size(pipeline, inputs.images[0]), Image.Resampling.LANCZOS)] * len(batch.prompts)
    return _repeat(inputs.images[0], batch)


def _fit_reference(image: Image.Image) -> Image.Image:
    """Return a reference that is neither smaller nor longer than any pipeline takes, with bars if need be."""
    least = -(-max(image.size) // _MAX_ASPECT)
    if min(image.size) < least:
        image = ImageOps.pad(image, (max(image.width, least), max(image.height, least)), color="white")
    factor = _MIN_REFERENCE / min(image.size)
    size = (round(image.width * factor), round(image.height * factor))
    return image.resize(size, Image.Resampling.LANCZOS) if factor > 1 else image


def _repeat(raster: Raster | None, batch: Batch) -> Any:
    """Return a picture as often as there are prompts; some pipelines of clips take no list, and draw one."""
    if raster is None:
        return None
    image = to_image(raster)
    return [image] * len(batch.prompts) if len(batch.prompts) > 1 else image


def _upscaler_size(pipeline: Any, raster: Raster) -> tuple[int, int]:
    """Return the next size that an upscaler takes; by itself it would cut the picture down to the one before."""
    name = type(pipeline).__name__
    multiple = next((it for prefix, it in _UPSCALER_MULTIPLES.items() if name.startswith(prefix)), 8)
    return -(-raster.width // multiple) * multiple, -(-raster.height // multiple) * multiple


def fit_results(pipeline: Any, images: Sequence[Image.Image], batch: Batch) -> list[Image.Image]:
    """Return what a pipeline drew in the size that was asked for.

    An upscaler has a factor of its own and cuts or fills its input; Qwen-Image-Edit's inpainting draws a megapixel.
    """
    sampling, known = batch.sampling, call_parameters(pipeline)
    size = sampling.width, sampling.height
    if sampling.mode == "upscale" and batch.inputs:
        raster = batch.inputs.images[0]
        factor = sampling.upscale or images[0].width // _upscaler_size(pipeline, raster)[0]
        size = raster.width * factor, raster.height * factor
    elif sampling.mode == "reference" and "width" not in known:
        return list(images)
    return [image if image.size == size else image.resize(size, Image.Resampling.LANCZOS) for image in images]
