"""Schedulers of diffusers for the samplers and schedules of `heliograph_api.samplers`.

What diffusers calls a scheduler is both in one. Each call of a pipeline gets one of its own, made from the config of
the model's, which stays as it is.
"""

from inspect import signature
from typing import Any

import diffusers
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers

from heliograph_api.sampler_table import SAMPLERS, SCHEDULES
from heliograph_runtime.engines.diffusers import following, noise_levels

_NO_FLAGS = {"use_karras_sigmas": False, "use_exponential_sigmas": False, "use_beta_sigmas": False}
# The classes that can be given a schedule, by how `following` does it.
_IN_TIME = {"LCMScheduler", "TCDScheduler"}
_BETWEEN = {"KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler"}
_FREE = {
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "LMSDiscreteScheduler",
    "UniPCMultistepScheduler",
}


def samplers_of(own: Any) -> tuple[str, ...]:
    """Return the samplers that `make_scheduler` takes for a model whose files name this scheduler.

    A model that predicts noise has all that diffusers runs, one of flow matching those made for it, and any other, such
    as one distilled for a sampler, the one that its own scheduler is.
    """
    name = type(own).__name__
    if _predicts_noise(own) and name not in _IN_TIME:
        return tuple(row.name for row in SAMPLERS if row.diffusers)
    if _matches_flow(own):
        return tuple(row.name for row in SAMPLERS if row.flow)
    same = (row.name for row in SAMPLERS if name == row.flow or (row.diffusers and name == row.diffusers.name))
    return tuple(same)[:1]


def schedules_of(own: Any) -> tuple[str, ...]:
    """Return the schedules that `make_scheduler` takes for a model whose files name this scheduler."""
    if _predicts_noise(own):
        lacking = set() if noise_levels.suits_ays(following.training_levels(own)) else {"ays"}
        return tuple(row.name for row in SCHEDULES if row.diffusers and row.name not in lacking)
    return tuple(row.name for row in SCHEDULES if row.flow) if _matches_flow(own) else ()


def make_scheduler(own: Any, sampler: str | None, schedule: str | None, *, xl: bool) -> Any:
    """Return a new scheduler for one pipeline call, since a scheduler keeps the state of the call that it serves.

    The schedule is in it: the pipeline is called with a number of steps, as ever.

    Args:
        own: The scheduler that the model's files name; it is not changed.
        sampler: One of `samplers_of(own)`, or None for the model's own.
        schedule: One of `schedules_of(own)`, or None for the model's own.
        xl: Whether the model is a Stable Diffusion XL.
    """
    if _predicts_noise(own):
        return _noise_scheduler(own, sampler, schedule, xl=xl)
    if _matches_flow(own):
        return _flow_scheduler(own, sampler, schedule)
    return type(own).from_config(own.config)


def _predicts_noise(own: Any) -> bool:
    """Return whether a scheduler is one of those that diffusers can exchange for each other."""
    config = own.config
    flow = config.get("prediction_type") == "flow_prediction" or config.get("use_flow_sigmas")
    continuous = config.get("timestep_type") == "continuous"
    exchangeable = type(own).__name__ in KarrasDiffusionSchedulers.__members__.keys() | _IN_TIME
    return exchangeable and config.get("beta_start") is not None and not flow and not continuous


def _matches_flow(own: Any) -> bool:
    plain = type(own) is diffusers.FlowMatchEulerDiscreteScheduler
    return plain and not own.config.invert_sigmas and not own.config.stochastic_sampling


def _noise_scheduler(own: Any, sampler: str | None, schedule: str | None, *, xl: bool) -> Any:
    row = next((row.diffusers for row in SAMPLERS if row.name == sampler), None)
    name, settings = (row.name, dict(row.settings)) if row else (type(own).__name__, {})
    if schedule is not None:
        settings |= _NO_FLAGS
    if name in _IN_TIME:
        scheduler = _make(name, own, settings)
        following.follow_in_time(scheduler, "lcm" if schedule in {None, "discrete"} else schedule, xl=xl)
        return scheduler
    if schedule in {None, "discrete"}:
        scheduler = _make(name, own, settings)
        following.drop_time_before_the_first(scheduler)
        return scheduler
    settings |= {"timestep_spacing": "linspace"} | ({"final_sigmas_type": "zero"} if row else {})
    if name in _BETWEEN:
        scheduler = _make(name, own, settings | {"use_exponential_sigmas": True})
        following.follow_between(scheduler, schedule, xl=xl)
        return scheduler
    # DDIM's steps are Euler's, whose class takes noise levels at any distance; so it stands in for all that take none.
    scheduler = _make(name if name in _FREE else "EulerDiscreteScheduler", own, settings)
    following.follow(scheduler, schedule, xl=xl)
    return scheduler


def _flow_scheduler(own: Any, sampler: str | None, schedule: str | None) -> Any:
    settings = {} if schedule is None else _NO_FLAGS
    if schedule in {"karras", "exponential"}:
        settings = settings | {f"use_{schedule}_sigmas": True}
    euler = _make("FlowMatchEulerDiscreteScheduler", own, settings)
    if schedule not in {None, "discrete", "karras", "exponential"}:
        following.follow_flow(euler, schedule)
    if sampler != "heun":
        return euler
    heun = _make("FlowMatchHeunDiscreteScheduler", own, {})
    heun.register_to_config(**{key: value for key, value in own.config.items() if key not in heun.config})
    following.follow_euler(heun, euler)
    return heun


def _make(name: str, own: Any, settings: dict[str, Any]) -> Any:
    """Return a scheduler of a class, less the config that the class doesn't know and would log each time."""
    kind = getattr(diffusers, name)
    known = {*signature(kind).parameters, "_use_default_values"}
    return kind.from_config({key: value for key, value in own.config.items() if key in known}, **settings)
