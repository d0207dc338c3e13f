"""`options` of the spec that belong to the pipeline, such as `max_sequence_length:256`."""

from collections.abc import Iterable, Mapping
from inspect import Parameter
from typing import Any

from heliograph_runtime.engines.protocol import LoadError

# Set by the runtime itself, or by fields of the request.
_OWN = frozenset({
    "prompt", "negative_prompt", "width", "height", "num_inference_steps", "guidance_scale", "num_images_per_prompt",
    "clip_skip", "generator", "output_type", "return_dict",
})  # fmt: skip
# Read elsewhere: the number type when the model is loaded, the scale among the defaults of a request.
_NOT_THE_PIPELINES = frozenset({"torch_dtype", "cfg_scale", "guidance_scale"})
_TRUTH = {"true": True, "1": True, "false": False, "0": False}


def pipeline_options(options: Iterable[str], parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """Return the keyword arguments that `options` add to each call of a pipeline.

    Args:
        options: Entries `key:value` of the spec.
        parameters: The pipeline's own parameters, which say what there is and of which type it is.

    Raises:
        LoadError: The pipeline has no such option, or the value is of another type.
    """
    found: dict[str, Any] = {}
    for option in options:
        key, _, value = (part.strip() for part in option.partition(":"))
        if key in _NOT_THE_PIPELINES:
            continue
        default = parameters[key].default if key in parameters and key not in _OWN else None
        if not isinstance(default, bool | int | float | str):
            raise LoadError(
                "InvalidSpec", f"options: {key} is no option of this pipeline; remove it, or correct its spelling"
            )
        try:
            found[key] = _TRUTH[value.lower()] if isinstance(default, bool) else type(default)(value)
        except (KeyError, ValueError):
            kind = type(default).__name__
            raise LoadError("InvalidSpec", f"options: {key} must be of type {kind}, not {value!r}") from None
    return found
