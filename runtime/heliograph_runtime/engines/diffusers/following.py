"""How a scheduler of diffusers is made to go down the noise levels of a schedule that its class doesn't know.

A pipeline sets the number of steps by `set_timesteps`, which works the levels out; the scheduler at hand gets one that
puts others in their place. Pipelines need not know: their own arguments for this, `timesteps` and `sigmas`, are ones
that most of the classes refuse.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from heliograph_runtime.engines.diffusers import noise_levels


def training_levels(scheduler: Any) -> noise_levels.Array:
    """Return the noise level at each time of the training of a model that predicts noise, the lowest first.

    Betas that are rescaled to end in noise alone have no level there; the next best is what Euler's scheduler takes.
    """
    products = np.maximum(scheduler.alphas_cumprod.double().cpu().numpy(), 2**-24)
    return np.asarray(np.sqrt((1 - products) / products))


def follow(scheduler: Any, schedule: str, *, xl: bool) -> None:
    """Give a schedule to a scheduler that looks its noise levels up in one row and keeps nothing made from it.

    Args:
        scheduler: The scheduler, for a model that predicts noise; it is changed.
        schedule: Canonical name.
        xl: Whether the model is a Stable Diffusion XL.
    """
    training = training_levels(scheduler)
    end = training[0] if scheduler.config.get("final_sigmas_type") == "sigma_min" else 0.0
    reset = scheduler.set_timesteps

    def set_timesteps(num_inference_steps: int, device: Any = None) -> None:
        reset(num_inference_steps, device=device)
        levels = noise_levels.levels(schedule, num_inference_steps, training, xl=xl)
        times = torch.from_numpy(noise_levels.times_of(levels, training)).float().to(device)
        _place(scheduler, torch.tensor([*levels, end], dtype=torch.float32), times)

    scheduler.set_timesteps = set_timesteps


def follow_in_time(scheduler: Any, schedule: str, *, xl: bool) -> None:
    """Give a schedule to a scheduler that knows no noise levels, only whole times of the model's training."""
    training = training_levels(scheduler)
    reset = scheduler.set_timesteps

    def set_timesteps(
        num_inference_steps: int,
        device: Any = None,
        original_inference_steps: int | None = None,
        strength: float = 1.0,
    ) -> None:
        # It refuses more steps than it has original ones, of which each time of the training can be one.
        reset(num_inference_steps, device=device, original_inference_steps=len(training))
        teacher_steps = original_inference_steps or scheduler.config.original_inference_steps
        levels = noise_levels.levels(schedule, num_inference_steps, training, xl=xl, teacher_steps=teacher_steps)
        times = torch.from_numpy(noise_levels.times_of(levels, training))
        # A latent consistency model's own pipeline leaves it to its scheduler to begin further down.
        taken = int(num_inference_steps * strength)
        scheduler.timesteps = times.round().long().to(device)[num_inference_steps - taken :]
        # By their number it knows the last one, after which it adds no noise.
        scheduler.num_inference_steps = taken
        # The first time may be there twice, and it would look for the place to start at by the time.
        scheduler.set_begin_index(0)

    scheduler.set_timesteps = set_timesteps


def drop_time_before_the_first(scheduler: Any) -> None:
    """Mend trailing steps of a scheduler that knows no noise levels.

    For some numbers, 61 among them, diffusers 0.42 makes one step too many, at time -1, which the scheduler takes for
    the last time of the training: the picture would end as noise.
    """
    if hasattr(scheduler, "sigmas") or scheduler.config.get("timestep_spacing") != "trailing":
        return
    reset = scheduler.set_timesteps

    def set_timesteps(num_inference_steps: int, device: Any = None) -> None:
        reset(num_inference_steps, device=device)
        scheduler.timesteps = scheduler.timesteps[scheduler.timesteps >= 0]

    scheduler.set_timesteps = set_timesteps


def follow_between(scheduler: Any, schedule: str, *, xl: bool) -> None:
    """Give a schedule to a scheduler that also works out the levels between its levels.

    It must have been made with `use_exponential_sigmas`, whose place the schedule takes.
    """
    training = training_levels(scheduler)

    def convert(*, in_sigmas: Any, num_inference_steps: int) -> noise_levels.Array:  # noqa: ARG001 - called by name
        return noise_levels.levels(schedule, num_inference_steps, training, xl=xl)

    scheduler._convert_to_exponential = convert  # noqa: SLF001 - all rows are made from what this returns, in one method


def follow_flow(euler: Any, schedule: str) -> None:
    """Give a schedule that is spaced in time to the Euler scheduler of a flow-matching model.

    The times are shifted as the model's config says, and by the size of the picture where the pipeline tells it.
    """
    reset = euler.set_timesteps

    def set_timesteps(
        num_inference_steps: int | None = None,
        device: Any = None,
        sigmas: Any = None,
        mu: float | None = None,
        timesteps: Any = None,  # noqa: ARG001 - pipelines look for it
    ) -> None:
        steps = num_inference_steps or len(sigmas)
        length = euler.config.num_train_timesteps
        times = noise_levels.times(schedule, steps, length)
        reset(device=device, sigmas=times / (length - 1), mu=mu)

    euler.set_timesteps = set_timesteps


def follow_euler(heun: Any, euler: Any) -> None:
    """Have Heun's scheduler for flow matching, which knows no shift by size, go down the levels of Euler's."""
    reset = heun.set_timesteps

    def set_timesteps(
        num_inference_steps: int | None = None,
        device: Any = None,
        sigmas: Any = None,
        mu: float | None = None,
        timesteps: Any = None,
    ) -> None:
        euler.set_timesteps(num_inference_steps, device=device, sigmas=sigmas, mu=mu, timesteps=timesteps)
        reset(len(euler.timesteps), device=device)
        _place(heun, euler.sigmas, euler.timesteps)

    heun.set_timesteps = set_timesteps


@contextmanager
def starting_at_a_whole_step(pipeline: Any) -> Iterator[None]:
    """Have a pipeline's call with a strength start inside the block where it starts with a scheduler of first order.

    The classes that hand over levels of their own take the length of the row of times for the number of steps, and with
    a scheduler of second order, whose row is twice as long, they would start far too late or behind its end.
    """
    start = getattr(pipeline, "get_timesteps", None)
    order = getattr(pipeline.scheduler, "order", 1)
    if start is None or order == 1:
        yield
        return

    def get_timesteps(num_inference_steps: int, *others: Any, **named: Any) -> Any:
        evaluations = len(pipeline.scheduler.timesteps)
        steps = -(-evaluations // order) if num_inference_steps == evaluations else num_inference_steps
        return start(steps, *others, **named)

    pipeline.get_timesteps = get_timesteps
    try:
        yield
    finally:
        del pipeline.get_timesteps


def _place(scheduler: Any, levels: torch.Tensor, times: torch.Tensor) -> None:
    """Put levels, the one at the end among them, and the times at which the model is asked into a scheduler."""
    if "Heun" in type(scheduler).__name__:
        # It asks the model at the start and at the end of each step but the last, whose end is without noise.
        levels = torch.cat([levels[:1], levels[1:-1].repeat_interleave(2), levels[-1:]])
        times = torch.cat([times[:1], times[1:].repeat_interleave(2)])
    scheduler.sigmas = levels
    scheduler.timesteps = times
