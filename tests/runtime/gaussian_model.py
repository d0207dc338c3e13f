"""A model whose right answer is known: its pictures are independent Gaussian numbers of one spread around 0.

What it should say at each noise level is a formula, so that a sampler can be judged by the spread that it ends with.
"""

from inspect import signature
from typing import Any

import numpy as np
import torch

SPREAD = 0.5
_PIXELS = (1, 1, 48, 48)


def draw_noise_model(scheduler: Any, steps: int) -> torch.Tensor:
    """Return what a scheduler makes of a model that predicts noise."""
    generator = torch.Generator().manual_seed(1)
    scheduler.set_timesteps(steps, device="cpu")
    sample: torch.Tensor = torch.randn(_PIXELS, generator=generator) * scheduler.init_noise_sigma
    taken = {"eta": 0.0, "generator": generator}
    further = {name: value for name, value in taken.items() if name in signature(scheduler.step).parameters}
    products = scheduler.alphas_cumprod.double().numpy()
    logarithms = np.log((1 - products) / products) / 2
    for time in scheduler.timesteps:
        level = float(np.exp(np.interp(float(time), np.arange(len(logarithms)), logarithms)))
        seen = scheduler.scale_model_input(sample, time) * (1 + level**2) ** 0.5
        noise = seen * level / (SPREAD**2 + level**2)
        sample = scheduler.step(noise, time, sample, **further, return_dict=False)[0]
    return sample


def draw_flow_model(scheduler: Any, steps: int, *, mu: float | None) -> torch.Tensor:
    """Return what a scheduler makes of a flow-matching model.

    Args:
        scheduler: The scheduler.
        steps: Number of steps.
        mu: Shift by the size of the picture; with one, the steps are set as the pipeline of FLUX.1 sets them.
    """
    if mu is None:
        scheduler.set_timesteps(steps, device="cpu")
    else:
        scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps), device="cpu", mu=mu)
    sample = torch.randn(_PIXELS, generator=torch.Generator().manual_seed(1))
    for time in scheduler.timesteps:
        level = float(time) / scheduler.config.num_train_timesteps
        left = (1 - level) * SPREAD**2
        velocity = sample * (level - left) / (level**2 + (1 - level) * left)
        sample = scheduler.step(velocity, time, sample, return_dict=False)[0]
    return sample
