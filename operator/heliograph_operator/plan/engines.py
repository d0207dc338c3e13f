"""What differs between the engines, as far as a pod is concerned."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class EngineRuntime:
    """How the container of one engine is run.

    Attributes:
        image: Container image.
        max_gpus: Most GPUs that one replica can put to use.
        liveness_path: Path that answers 200 while the process works, however busy it is.
        readiness_path: Path that answers 200 when the model is loaded.
        env: Environment variables.
    """

    image: str
    max_gpus: int
    liveness_path: str = "/healthz"
    readiness_path: str = "/readyz"
    env: Mapping[str, str] = field(default_factory=dict)
