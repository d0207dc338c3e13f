"""What the library is asked to draw, and what it gives."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Pixels:
    """A picture: `width * height * channels` bytes, row by row from the top left."""

    width: int
    height: int
    channels: int
    data: bytes


@dataclass(frozen=True)
class Order:
    """One picture or clip to draw; what is None is left to the library.

    Attributes:
        prompt: What to draw.
        negative_prompt: What not to draw.
        width: Width in pixels.
        height: Height in pixels.
        steps: Inference steps.
        cfg_scale: Classifier-free guidance scale.
        seed: Seed, 0 or more.
        distilled_guidance: Guidance that a model was distilled with.
        image_scale: Guidance scale for the picture that a model reads beside the one that it draws.
        sample_method: Number of a sample method.
        scheduler: Number of a scheduler.
        flow_shift: Shift of a flow model's schedule.
        clip_skip: Layer of CLIP to stop at, counted from the last one, which is 1.
        strength: How much of the first picture is drawn anew, 0 to 1.
        init_image: Picture to change.
        mask: What of it to draw anew (255) and to keep (0); of its size.
        references: Pictures that the prompt refers to; of InstructPix2Pix the one to change.
        control_image: Picture to follow.
        control_strength: Its weight.
        frames: Frames of a clip; None for a picture.
        last_image: Picture of a clip's last frame.
        high_noise_steps: Steps, of all, that the model for high noise takes; 0 without one.
        loras: Files of adapters with their weights.
        tiling: Width and height of the VAE's tiles in places of the latents; their overlap.
    """

    prompt: str
    negative_prompt: str
    width: int
    height: int
    steps: int
    cfg_scale: float
    seed: int
    distilled_guidance: float | None = None
    image_scale: float | None = None
    sample_method: int | None = None
    scheduler: int | None = None
    flow_shift: float | None = None
    clip_skip: int | None = None
    strength: float | None = None
    init_image: Pixels | None = None
    mask: Pixels | None = None
    references: Sequence[Pixels] = ()
    control_image: Pixels | None = None
    control_strength: float | None = None
    frames: int | None = None
    last_image: Pixels | None = None
    high_noise_steps: int = 0
    loras: Sequence[tuple[str, float]] = ()
    tiling: tuple[int, int, float] | None = None
