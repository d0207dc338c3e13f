"""Samplers by LocalAI's names, made from a model's own scheduler config.

The table is LocalAI's (`backend/python/diffusers/backend.py`); the `k_` prefix asks for Karras' noise levels.
"""

from typing import Any

import diffusers

from heliograph_runtime.engines.samplers import SAMPLERS

_MULTISTEP = {"algorithm_type": "dpmsolver++", "solver_order": 2}
_SDE = {"algorithm_type": "sde-dpmsolver++"}

_CLASSES: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "pndm": ("PNDMScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "dpm_2": ("KDPM2DiscreteScheduler", {}),
    "dpm_2_a": ("KDPM2AncestralDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", _MULTISTEP),
    "dpmpp_sde": ("DPMSolverSinglestepScheduler", {}),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", _SDE),
}


def samplers_of(scheduler: Any) -> tuple[str, ...]:
    """Return the names that `make_scheduler` takes for a model whose files name this scheduler.

    The samplers are for models that predict noise on a schedule of betas. A flow-matching model is none: its own
    scheduler has no substitute among them, except that plain `euler` is what most of these models have.
    """
    config = scheduler.config
    flow = config.get("prediction_type") == "flow_prediction" or config.get("use_flow_sigmas")
    if config.get("beta_start") is not None and not flow:
        return SAMPLERS
    return ("euler",) if isinstance(scheduler, diffusers.FlowMatchEulerDiscreteScheduler) else ()


def make_scheduler(own: Any, sampler: str | None) -> Any:
    """Return a new scheduler for one pipeline call, since a scheduler keeps the state of the call that it serves.

    Args:
        own: The scheduler that the model's files name; it is not changed.
        sampler: One of `samplers_of(own)`, or None for the model's own.
    """
    config = dict(own.config)
    if sampler is None or isinstance(own, diffusers.FlowMatchEulerDiscreteScheduler):
        return type(own).from_config(config)
    class_name, changes = _CLASSES[sampler.removeprefix("k_")]
    karras = {"use_karras_sigmas": True} if sampler.startswith("k_") else {}
    return getattr(diffusers, class_name).from_config(config, **changes, **karras)
