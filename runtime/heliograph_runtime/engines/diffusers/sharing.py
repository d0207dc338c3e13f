"""Pipelines that draw with the parts of another one, so that a model in memory once serves several modes."""

from collections.abc import Mapping
from inspect import signature
from typing import Any

# What `enable_model_cpu_offload` leaves behind in a pipeline; each call sets the hooks up anew from it.
_OFFLOAD_STATE = ("_all_hooks", "_offload_device", "_offload_gpu_id")


def can_share(pipeline: Any, pipeline_class: Any) -> bool:
    """Return whether a pipeline has all that another class needs to be made."""
    given = {**pipeline.config, **pipeline.components}
    parameters = [it for name, it in signature(pipeline_class.__init__).parameters.items() if name != "self"]
    return all(it.name in given for it in parameters if it.default is it.empty and it.kind is not it.VAR_KEYWORD)


def share(pipeline: Any, pipeline_class: Any, parts: Mapping[str, Any] | None = None) -> Any:
    """Return a pipeline of a class with the parts and settings of another pipeline, which can still be used.

    Unlike diffusers' `from_pipe` it leaves the number types of the parts as they are, quantised ones too.

    Args:
        pipeline: The pipeline whose parts are used.
        pipeline_class: Class of the new one.
        parts: Further parts.
    """
    given = {**pipeline.config, **pipeline.components, **(parts or {})}
    known = signature(pipeline_class.__init__).parameters
    made = pipeline_class(**{name: value for name, value in given.items() if name in known})
    for name in _OFFLOAD_STATE:
        if hasattr(pipeline, name):
            setattr(made, name, getattr(pipeline, name))
    made.set_progress_bar_config(disable=True)
    return made
