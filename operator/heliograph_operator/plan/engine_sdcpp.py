"""The stable-diffusion.cpp engine."""

from heliograph_operator.plan.engines import EngineRuntime
from heliograph_operator.settings import OperatorSettings

ENV = {"HOME": "/tmp"}  # noqa: S108 - an emptyDir of the pod's own, the one place that can be written
MAX_GPUS = 1
"""stable-diffusion.cpp keeps a model on one device."""


def plan_engine(*, settings: OperatorSettings) -> EngineRuntime:
    """Return how the stable-diffusion.cpp runtime is run."""
    return EngineRuntime(image=settings.runtime_image_sdcpp, max_gpus=MAX_GPUS, env=ENV)
