"""What the call of a pipeline takes, by its meaning: the classes of diffusers spell the same thing differently."""

from collections.abc import Mapping
from functools import cache
from inspect import Parameter, signature
from typing import Any

IMAGE = ("image", "images")
LAST_IMAGE = ("last_image",)
CONTROL_IMAGE = ("control_image", "image")
"""A ControlNet pipeline that draws from text alone calls its control image `image`."""
GUIDANCE = ("guidance_scale", "distilled_guidance_scale", "max_guidance_scale")
FRAMES = ("num_frames", "frames", "video_length")
FPS = ("fps", "frame_rate", "target_fps")

# They read a list of pictures as references for one prompt; the others as one picture for each of several prompts.
_SEVERAL_REFERENCES = (
    "Flux2", "GlmImage", "JoyImageEditPlus", "QwenImage21", "QwenImageEditPlus", "ZImageOmni"
)  # fmt: skip


def call_parameters(pipeline: Any) -> Mapping[str, Parameter]:
    """Return the named parameters of the call of a pipeline, or of a class of pipelines."""
    return _call_parameters(pipeline if isinstance(pipeline, type) else type(pipeline))


@cache
def _call_parameters(pipeline_class: type[Any]) -> Mapping[str, Parameter]:
    named = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    parameters = signature(pipeline_class.__call__).parameters
    return {name: it for name, it in parameters.items() if it.kind in named and name != "self"}


def spelling(parameters: Mapping[str, Parameter], names: tuple[str, ...]) -> str | None:
    """Return the first of `names` that is among the parameters, or None."""
    return next((name for name in names if name in parameters), None)


def number(parameters: Mapping[str, Parameter], names: tuple[str, ...]) -> Any:
    """Return the default of the first of `names` that is among the parameters, if it is a number, or None."""
    name = spelling(parameters, names)
    default = parameters[name].default if name else None
    return default if isinstance(default, int | float) and not isinstance(default, bool) else None


def takes_several_references(pipeline: Any) -> bool:
    """Return whether a pipeline can draw one picture from several."""
    return type(pipeline).__name__.startswith(_SEVERAL_REFERENCES)
