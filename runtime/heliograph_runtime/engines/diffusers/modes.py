"""From what a pipeline class draws, read off its signature, and which classes share its weights."""

import re
from functools import cache
from inspect import signature
from typing import Any

import diffusers

from heliograph_runtime.engines.diffusers.arguments import FRAMES, IMAGE, call_parameters, spelling
from heliograph_runtime.engines.protocol import Mode

# They draw from text alone too, which a signature can't say: most classes that need a picture have a default for it.
_IMAGE_IS_OPTIONAL = frozenset({
    "BriaFibo2Pipeline", "DreamLiteMobilePipeline", "DreamLitePipeline", "Flux2KleinKVPipeline", "Flux2KleinPipeline",
    "Flux2Pipeline", "FluxKontextPipeline", "GlmImagePipeline", "HeliosPipeline", "HeliosPyramidPipeline",
    "QwenImage21Pipeline", "StableCascadeCombinedPipeline", "ZImageOmniPipeline",
})  # fmt: skip
# They keep the picture's layout, as the classes with a strength do, and have no strength.
_CHANGES_THE_IMAGE = re.compile(r"InstructPix2Pix|ImageVariation|Adapter")
_UPSCALES = re.compile(r"Upscale|SuperResolution")
# diffusers 0.42 reads `guidance_embeds` off the config of Chroma's transformer, which has none.
_BROKEN = frozenset({"ChromaInpaintPipeline"})
# What they return is no picture: depths, meshes, layers, a picture with its depths, embeddings, text, a grid.
_RETURNS_NO_PICTURE = re.compile(r"Marigold|ShapE|Layered|LDM3D|Prior|DiffusionGemma|VisualCloze")
_FILLED = frozenset({"prompt", "mask_image", "control_image", *IMAGE})
_OTHER_INPUTS = (
    "video", "control_video", "conditions", "reference_conditions", "conditioning_frames", "control_mask"
)  # fmt: skip

# The classes that draw with the same weights are called alike but for this.
_KINDS = ("", "Img2Img", "Inpaint", "Inpainting")
# Of those that set pictures in motion only a few do it with the weights of the class that draws clips from text.
_CLIPS = (
    ("LTXPipeline", "LTXImageToVideoPipeline"),
    ("LTX2Pipeline", "LTX2ImageToVideoPipeline"),
    ("WanPipeline", "WanImageToVideoPipeline"),
)


def exported(name: str) -> Any:
    """Return the pipeline class that diffusers exports under a name, in any case, or None."""
    found = getattr(diffusers, _exported_names().get(name.lower(), ""), None)
    return found if isinstance(found, type) and issubclass(found, diffusers.DiffusionPipeline) else None


@cache
def _exported_names() -> dict[str, str]:
    return {name.lower(): name for name in dir(diffusers) if name.endswith("Pipeline")}


def modes_of(pipeline_class: Any) -> tuple[Mode, ...]:
    """Return from what a class draws pictures or clips; empty when it needs something that no request can give."""
    parameters, name = call_parameters(pipeline_class), pipeline_class.__name__
    needed = {it.name for it in parameters.values() if it.default is it.empty}
    if needed - _FILLED or name in _BROKEN or _RETURNS_NO_PICTURE.search(name):
        return ()
    if spelling(parameters, IMAGE) is None:
        return _modes_without_image(pipeline_class)
    if takes_control(pipeline_class) != ("control_image" in parameters):
        # A ControlNet's class that calls its control image `image`; or two pictures of which no request can give one.
        return ("text",) if takes_control(pipeline_class) else ()
    if "mask_image" in parameters:
        return ("inpaint",)
    if _UPSCALES.search(name):
        return ("upscale",)
    refers = "prompt" in parameters and "strength" not in parameters and spelling(parameters, FRAMES) is None
    mode: Mode = "reference" if refers and not _CHANGES_THE_IMAGE.search(name) else "image"
    return ("text", mode) if name in _IMAGE_IS_OPTIONAL else (mode,)


def _modes_without_image(pipeline_class: Any) -> tuple[Mode, ...]:
    parameters = call_parameters(pipeline_class)
    if not {"prompt", "width"} <= parameters.keys() or spelling(parameters, _OTHER_INPUTS):
        return ()
    # FLUX.1-Depth and its like follow a control image by themselves, and draw nothing without one.
    return ("image",) if "control_image" in parameters and not takes_control(pipeline_class) else ("text",)


def relatives(pipeline_class: Any) -> dict[Mode, Any]:
    """Return the classes that draw with the same weights, by mode; a class itself comes before its relatives."""
    found: dict[Mode, Any] = {}
    for member in (pipeline_class, *_family(pipeline_class)):
        for mode in modes_of(member):
            found.setdefault(mode, member)
    return found


def takes_control(pipeline_class: Any) -> bool:
    """Return whether a class has a ControlNet beside the model itself."""
    return "controlnet" in signature(pipeline_class.__init__).parameters


def with_control(pipeline_class: Any, *, union: bool) -> Any:
    """Return the class that draws the same way and follows a control image beside it, or None.

    Args:
        pipeline_class: A class without a ControlNet.
        union: Whether the ControlNet is one for several kinds of control images.
    """
    match = re.fullmatch(r"(\w+?)(Img2Img|Inpaint|)Pipeline", pipeline_class.__name__)
    control = "ControlNetUnion" if union else "ControlNet"
    found = exported(f"{match[1]}{control}{match[2]}Pipeline") if match else None
    return found if found and modes_of(found) == modes_of(pipeline_class) else None


def without_control(pipeline_class: Any) -> Any:
    """Return the class that draws the same way and has no ControlNet, or None."""
    return exported(re.sub(r"ControlNet(Union)?", "", pipeline_class.__name__))


def _family(pipeline_class: Any) -> list[Any]:
    """Return the classes that draw with the same weights."""
    name = pipeline_class.__name__
    base = re.sub(r"(Img2Img|Inpaint|Inpainting|)Pipeline$", "", name)
    names = [f"{base}{kind}Pipeline" for kind in _KINDS]
    names += [member for family in _CLIPS if name in family for member in family]
    return [member for member in map(exported, names) if member is not None]
