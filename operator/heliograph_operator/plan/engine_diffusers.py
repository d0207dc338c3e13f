"""The diffusers engine."""

from heliograph_operator.plan.engines import EngineRuntime
from heliograph_operator.settings import OperatorSettings

_HOME = "/tmp"  # noqa: S108 - an emptyDir of the pod's own, the one place that can be written

ENV = {
    "HOME": _HOME,
    "HF_HOME": f"{_HOME}/huggingface",
    # Loading never calls a hub; without this, a missing file would wait for a connection that cannot be made.
    "HF_HUB_OFFLINE": "1",
}
MAX_GPUS = 8
"""The GPUs of the largest common node; the processes of one replica share a pod."""


def plan_engine(*, settings: OperatorSettings) -> EngineRuntime:
    """Return how the diffusers runtime is run."""
    return EngineRuntime(image=settings.runtime_image_diffusers, max_gpus=MAX_GPUS, env=ENV)
