"""What a family of models does well with, where neither the request nor the ImageModel says.

Sources of the figures: the defaults of llama-box, the server that GPUStack runs for the image families; the model cards
of the others.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """Values of one family; None leaves the pipeline's own default.

    Attributes:
        steps: Inference steps.
        guidance_scale: Guidance scale.
        sampler: Sampler.
        fps: Frames for each second of a clip.
    """

    steps: int | None = None
    guidance_scale: float | None = None
    sampler: str | None = None
    fps: int | None = None


# By the start of the pipeline's class name, the longer ones first. FLUX's guidance is the distilled one (3.5), which is
# what `guidance_scale` means to its pipeline; its classifier-free scale of 1 is the pipeline's own `true_cfg_scale`.
_FAMILIES = {
    "StableDiffusionXL": Family(steps=25, guidance_scale=5.0, sampler="euler"),
    "StableDiffusion3": Family(steps=20, guidance_scale=4.5, sampler="euler"),
    # They are made for their own schedulers and scales.
    "StableDiffusionUpscale": Family(),
    "StableDiffusionLatentUpscale": Family(),
    "StableDiffusionInstructPix2Pix": Family(),
    "StableDiffusionImageVariation": Family(),
    "StableDiffusion": Family(steps=20, guidance_scale=9.0, sampler="euler_a"),
    "Flux2": Family(),
    "FluxFill": Family(),
    "FluxControlNet": Family(steps=20, guidance_scale=3.5, sampler="euler"),
    "FluxControl": Family(),
    "Flux": Family(steps=20, guidance_scale=3.5, sampler="euler"),
    "AnimateDiff": Family(fps=8),
    "CogVideoX": Family(fps=8),
    "HunyuanVideo": Family(fps=24),
    "Mochi": Family(fps=30),
    "TextToVideo": Family(fps=8),
    "Wan": Family(fps=16),
}


def family_of(pipeline: str) -> Family:
    """Return the family of a pipeline by the name of its class."""
    return next((family for prefix, family in _FAMILIES.items() if pipeline.startswith(prefix)), Family())
