"""`options` of the spec: `key:value` entries, split at their first colon.

Some say how a model is loaded; the others are arguments of its pipeline's call, such as `max_sequence_length:256`.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from inspect import Parameter
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from heliograph_runtime.engines.diffusers.arguments import call_parameters
from heliograph_runtime.engines.option_values import read_truth, unknown_option
from heliograph_runtime.engines.protocol import LoadError

# Set by the runtime itself, or by fields of the request.
_OWN = frozenset({
    "width", "height", "num_inference_steps", "num_images_per_prompt", "num_videos_per_prompt", "clip_skip",
    "generator", "output_type", "return_dict", "callback", "callback_steps",
})  # fmt: skip
_OWN_PREFIXES = ("prompt", "negative_prompt", "callback_on_step_end")
# Read elsewhere: when the model is loaded, or among the defaults of a request.
LOAD_OPTIONS = frozenset({
    "torch_dtype", "quantization", "compile", "attention", "prompt_weighting", "embeddings_dir", "embedding_dir",
    "cfg_scale", "guidance_scale",
})  # fmt: skip
_NOTHING = frozenset({"none", "null"})
_SCALARS = (bool, int, float, str)


def load_option(options: Iterable[str], key: str) -> str | None:
    """Return the value of the last entry with this key, or None."""
    return next((value for name, value in reversed([*_entries(options)]) if name == key), None)


def load_switch(options: Iterable[str], key: str) -> bool | None:
    """Return the value of the last entry with this key, which is true or false, or None.

    Raises:
        LoadError: It is neither.
    """
    value = load_option(options, key)
    try:
        return None if value is None else read_truth(value)
    except ValueError:
        raise LoadError("InvalidSpec", f"options: {key} must be true or false, not {value!r}") from None


def pipeline_options(options: Iterable[str], pipelines: Sequence[Any]) -> dict[str, Any]:
    """Return the keyword arguments that `options` add to the calls of pipelines.

    Args:
        options: Entries `key:value` of the spec.
        pipelines: The pipelines, whose calls say what there is and of which type it is.

    Raises:
        LoadError: No pipeline has such an option, or the value is of another type.
    """
    calls = [call_parameters(pipeline) for pipeline in reversed(pipelines)]
    kinds = {name: kind for call in calls for name, it in call.items() if (kind := _kinds(it))}
    kinds = {name: kind for name, kind in kinds.items() if name not in _OWN and not name.startswith(_OWN_PREFIXES)}
    found: dict[str, Any] = {}
    for key, value in _entries(options):
        if key in LOAD_OPTIONS:
            continue
        if key not in kinds:
            raise unknown_option(key, kinds.keys() | LOAD_OPTIONS, whose="this pipeline")
        try:
            found[key] = _read(value, kinds[key])
        except ValueError:
            names = " or ".join(_name(kind) for kind in kinds[key] if kind is not NoneType)
            raise LoadError("InvalidSpec", f"options: {key} must be of type {names}, not {value!r}") from None
    return found


def _entries(options: Iterable[str]) -> Iterator[tuple[str, str]]:
    for option in options:
        key, _, value = option.partition(":")
        yield key.strip(), value.strip()


def _kinds(parameter: Parameter) -> tuple[Any, ...]:
    """Return the types that a parameter takes and that text can be: scalars, lists of scalars and None; maybe none."""
    found = [kind for kind in _members(parameter.annotation) if _element(kind) in _SCALARS]
    default = parameter.default
    if isinstance(default, _SCALARS) and not any(_element(kind) is type(default) for kind in found):
        found.insert(0, type(default))
    return (*found, NoneType) if found and NoneType in _members(parameter.annotation) else tuple(found)


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _element(kind: Any) -> Any:
    """Return a scalar itself, and of a list or a tuple what it is of, if that is one thing."""
    if get_origin(kind) not in (list, tuple):
        return kind
    elements = {element for element in get_args(kind) if element is not Ellipsis}
    return elements.pop() if len(elements) == 1 else None


def _read(value: str, kinds: tuple[Any, ...]) -> Any:
    """Return a value of the first type that its text is of; `none` is none where the parameter may be that."""
    if NoneType in kinds and value.lower() in _NOTHING:
        return None
    scalars = [kind for kind in _SCALARS if kind in kinds]
    lists = [kind for kind in kinds if get_origin(kind) in (list, tuple)]
    for kind in (*(kind for kind in scalars if kind is not str), *lists, *(kind for kind in scalars if kind is str)):
        try:
            return _read_list(value, kind) if get_origin(kind) else _read_scalar(value, kind)
        except (ValueError, TypeError):
            continue
    raise ValueError(value)


def _read_scalar(value: Any, kind: Any) -> Any:
    return read_truth(str(value)) if kind is bool else kind(value)


def _read_list(value: str, kind: Any) -> Any:
    """Return a list that is written as JSON, or as its elements with commas between them."""
    elements = json.loads(value) if value.startswith("[") else [part.strip() for part in value.split(",")]
    return get_origin(kind)(_read_scalar(element, _element(kind)) for element in elements)


def _name(kind: Any) -> str:
    return f"list of {_element(kind).__name__}" if get_origin(kind) else kind.__name__
