"""The noise levels of the schedules, as stable-diffusion.cpp defines them: a name means the same in both engines.

diffusers has some of them as flags of its schedulers, but classes differ in which they know, in what level "karras"
starts from and in what "beta" spreads.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from diffusers.schedulers.scheduling_utils import AysSchedules
from numpy.typing import NDArray
from scipy.special import betaincinv  # type: ignore[import-untyped] # scipy has no types of its own

Array = NDArray[Any]

_KARRAS_RHO = 7.0
_BETA_SHAPE = 0.6  # both parameters of the distribution, as in "Beta Sampling is All You Need"
_TEACHER_STEPS = 50  # those that latent consistency models are distilled with unless they say otherwise


def times(schedule: str, steps: int, training_steps: int, *, teacher_steps: int = _TEACHER_STEPS) -> Array | None:
    """Return where in the time of training, its length less 1 to 0, the steps of a schedule begin.

    None is for a schedule that is not spaced in time; see `levels`.
    """
    left = 1 - np.arange(steps) / steps
    last = training_steps - 1
    match schedule:
        case "sgm_uniform" | "simple":
            return left * last
        case "smoothstep":
            return left**2 * (3 - 2 * left) * last
        case "beta":
            return np.asarray(betaincinv(_BETA_SHAPE, _BETA_SHAPE, left)) * last
        case "lcm":
            places = max(teacher_steps, steps)
            return (places - np.arange(steps) * places // steps) * (training_steps / places) - 1
        case _:
            return None


def levels(schedule: str, steps: int, training: Array, *, xl: bool, teacher_steps: int = _TEACHER_STEPS) -> Array:
    """Return the noise level that each step begins at, the highest first; the last step ends at 0.

    Args:
        schedule: Canonical name of the schedule.
        steps: Number of steps, at least 1.
        training: The level at each time of the model's training, the lowest first.
        xl: Whether the model is a Stable Diffusion XL, which schedules of measured levels have a row of their own for.
        teacher_steps: Steps of the teacher of a latent consistency model, of which the schedule `lcm` takes some.
    """
    placed = times(schedule, steps, len(training), teacher_steps=teacher_steps)
    if placed is not None:
        return np.exp(np.interp(placed, np.arange(len(training)), np.log(training)))
    if steps == 1:
        return training[-1:]
    return _LEVELS[schedule](steps, float(training[0]), float(training[-1]), xl)


def times_of(levels: Array, training: Array) -> Array:
    """Return the times of training, whole ones or between, that have these noise levels."""
    return np.interp(np.log(levels), np.log(training), np.arange(len(training)))


def suits_ays(training: Array) -> bool:
    """Return whether a model has the noise levels of Stable Diffusion, which "Align Your Steps" was measured on."""
    return bool(np.isclose(training[-1], _measured("StableDiffusionSigmas")[0], rtol=0.01))


def _karras(steps: int, least: float, most: float, _xl: bool) -> Array:
    ramp = np.linspace(most ** (1 / _KARRAS_RHO), least ** (1 / _KARRAS_RHO), steps)
    return np.asarray(ramp**_KARRAS_RHO)


def _exponential(steps: int, least: float, most: float, _xl: bool) -> Array:
    return np.geomspace(most, least, steps)


def _kl_optimal(steps: int, least: float, most: float, _xl: bool) -> Array:
    return np.tan(np.linspace(np.arctan(most), np.arctan(least), steps))


def _bong_tangent(steps: int, least: float, most: float, _xl: bool) -> Array:
    """Return two arcs of an arc tangent that meet at half of the range, three fifths down the steps."""
    pivot = (steps + 2) * 3 // 5
    bend = -np.arctan((np.arange(steps + 2) - pivot) * 8 / (steps + 2))
    middle = (least + most) / 2
    arcs = ((bend[:pivot], middle, most), (bend[pivot:], least, middle))
    return np.concatenate([low + (arc[:-1] - arc[-1]) / (arc[0] - arc[-1]) * (high - low) for arc, low, high in arcs])


def _measured(model: str) -> Array:
    return np.asarray(AysSchedules[model])


def _ays(steps: int, least: float, _most: float, xl: bool) -> Array:
    """Return the measured levels, stretched to the number of steps between their logarithms."""
    measured = _measured("StableDiffusionXLSigmas" if xl else "StableDiffusionSigmas")
    logarithms = np.log([*measured[:-1], least])
    places = np.linspace(0, len(logarithms) - 1, steps + 1)[:-1]
    return np.exp(np.interp(places, np.arange(len(logarithms)), logarithms))


_LEVELS: dict[str, Callable[[int, float, float, bool], Array]] = {
    "karras": _karras,
    "exponential": _exponential,
    "kl_optimal": _kl_optimal,
    "bong_tangent": _bong_tangent,
    "ays": _ays,
}
