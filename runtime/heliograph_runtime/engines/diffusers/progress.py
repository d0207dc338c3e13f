"""Progress of a pipeline call, step by step; what is raised while it is told leaves the call."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from inspect import signature
from typing import Any

import torch

from heliograph_runtime.engines.diffusers.arguments import call_parameters
from heliograph_runtime.engines.diffusers.recovery import first_line
from heliograph_runtime.engines.protocol import OnStep, Picture

Show = Callable[[Any, torch.Tensor], Sequence[Picture]]
"""Returns the unfinished pictures that a pipeline's latents hold."""

log = logging.getLogger(__name__)


class Progress:
    """Tells of the steps of one pipeline call.

    A scheduler of second order calls the model twice for a step and counts both, except for the last step, which takes
    one; what is told are whole steps.

    Args:
        on_step: Called after each step.
        preview_steps: Steps, counted from 1, after which `show` is asked for unfinished pictures.
        show: None when there are none to show.
    """

    def __init__(self, on_step: OnStep, preview_steps: Sequence[int], show: Show | None) -> None:
        self._on_step = on_step
        self._preview_steps = frozenset(preview_steps)
        self._show = show

    @contextmanager
    def watching(self, pipeline: Any) -> Iterator[dict[str, Any]]:
        """Watch a pipeline's call inside the block, which gets the keyword arguments that the call needs for it."""
        if "callback_on_step_end" in call_parameters(pipeline):
            yield {"callback_on_step_end": self._step_end}
            return
        with self._watching_scheduler(pipeline):
            yield {}

    def _step_end(self, pipeline: Any, step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        self._evaluated(pipeline, step + 1, _count(pipeline), tensors.get("latents"))
        return tensors

    @contextmanager
    def _watching_scheduler(self, pipeline: Any) -> Iterator[None]:
        """Watch the scheduler of a pipeline that calls nobody after each step, or not with what is needed."""
        scheduler = pipeline.scheduler
        step, places = scheduler.step, signature(scheduler.step)
        evaluated, first = 0, 0

        @wraps(step)
        def watched(*args: Any, **kwargs: Any) -> Any:
            nonlocal evaluated, first
            result = step(*args, **kwargs)
            if not evaluated:
                first = _place(scheduler, places.bind(*args, **kwargs).arguments.get("timestep"))
            evaluated += 1
            self._evaluated(pipeline, evaluated, len(scheduler.timesteps) - first, None)
            return result

        scheduler.step = watched
        try:
            yield
        finally:
            del scheduler.step

    def _evaluated(self, pipeline: Any, evaluated: int, of: int, latents: torch.Tensor | None) -> None:
        order = getattr(pipeline.scheduler, "order", 1)
        if evaluated % order and evaluated != of:
            return
        done, steps = -(-evaluated // order), -(-of // order)
        shown = self._previews(pipeline, latents) if done in self._preview_steps and latents is not None else ()
        self._on_step(done, steps, shown)

    def _previews(self, pipeline: Any, latents: torch.Tensor) -> Sequence[Picture]:
        """Return the unfinished pictures; that they can't be shown must not cost the picture itself."""
        if self._show is None:
            return ()
        try:
            return self._show(pipeline, latents)
        except Exception as error:  # a decoder and the memory that it needs raise anything
            log.warning("%s has no previews: %s", type(pipeline).__name__, first_line(error))
            self._show = None
            return ()


def _count(pipeline: Any) -> int:
    """Return how often the model is called; with a strength that is less often than the scheduler has timesteps."""
    return int(getattr(pipeline, "num_timesteps", 0) or len(pipeline.scheduler.timesteps))


def _place(scheduler: Any, timestep: Any) -> int:
    """Return where in a scheduler's timesteps a call begins, which it does further behind with a strength.

    A scheduler of second order has most of them twice, and a call begins with a whole step.
    """
    if timestep is None:
        return 0
    places = [int(place) for place in (scheduler.timesteps == timestep).nonzero()]
    order = getattr(scheduler, "order", 1)
    return next((place for place in places if place % order == 0), 0)
