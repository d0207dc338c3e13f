"""What a family of models does well with, where neither the request nor the ImageModel says.

Source of the figures: the defaults of llama-box, the server that GPUStack runs for these families.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """Values of one family; None leaves the pipeline's own default."""

    steps: int | None = None
    guidance_scale: float | None = None
    sampler: str | None = None


# By the start of the pipeline's class name, the longer ones first. FLUX's guidance is the distilled one (3.5), which is
# what `guidance_scale` means to its pipeline; its classifier-free scale of 1 is the pipeline's own `true_cfg_scale`.
_FAMILIES = {
    "StableDiffusionXL": Family(steps=25, guidance_scale=5.0, sampler="euler"),
    "StableDiffusion3": Family(steps=20, guidance_scale=4.5, sampler="euler"),
    "StableDiffusion": Family(steps=20, guidance_scale=9.0, sampler="euler_a"),
    "Flux2": Family(),
    "Flux": Family(steps=20, guidance_scale=3.5, sampler="euler"),
}


def family_of(pipeline: str) -> Family:
    """Return the family of a pipeline by the name of its class."""
    return next((family for prefix, family in _FAMILIES.items() if pipeline.startswith(prefix)), Family())
