"""Capabilities of models that are not there, and requests for them."""

from dataclasses import replace
from typing import Any

from heliograph_api.defaults import GenerationDefaults
from heliograph_api.errors import APIError
from heliograph_api.images.inputs import InputImage
from heliograph_api.images.request import ImageRequest
from heliograph_runtime.engines.protocol import Capabilities, ModeCapabilities, VideoCapabilities
from heliograph_runtime.images.planning import PlannedPicture, plan_pictures

IMAGE = InputImage("image", data=b"")
OTHER_IMAGE = InputImage("file", data=b"")
REFERENCE = InputImage("ref_images", data=b"")
MASK = InputImage("mask", data=b"")
CONTROL = InputImage("control", data=b"")

TEXT = ModeCapabilities("TextPipeline", control=True)
CHANGING = ModeCapabilities("ImagePipeline", strength=0.75, max_images=1, control=True)
INPAINTING = ModeCapabilities("InpaintPipeline", strength=1.0, max_images=1)
REFERRING = ModeCapabilities("ReferencePipeline", max_images=3)
UPSCALING = ModeCapabilities("UpscalePipeline", prompt=False, sized=False, max_images=1)

ABLE = Capabilities(
    family="Able",
    modes={"text": TEXT, "image": CHANGING, "inpaint": INPAINTING},
    device="cpu",
    dtype="float32",
    width=512,
    height=512,
    size_multiple=8,
    max_pixels=None,
    samplers=("ddim", "euler_a", "dpmpp_2m"),
    schedules=("discrete", "karras"),
    max_clip_skip=11,
    max_steps=999,
    steps=20,
    guidance_scale=9.0,
    distilled_guidance=False,
    true_cfg_scale=None,
    sampler="euler_a",
    loras=("style", "detail"),
    previews=True,
    video=None,
)
UNABLE = replace(
    ABLE,
    modes={"text": replace(TEXT, negative_prompt=False, control=False)},
    samplers=(),
    schedules=(),
    max_clip_skip=None,
    steps=None,
    guidance_scale=None,
    sampler=None,
    loras=(),
)
DISTILLED = replace(
    ABLE,
    modes={"text": replace(TEXT, negative_prompt=False)},
    guidance_scale=3.5,
    distilled_guidance=True,
    true_cfg_scale=1.0,
)
REFERENCING = replace(ABLE, modes={"text": TEXT, "reference": REFERRING})
FILMING = replace(
    ABLE,
    modes={"image": replace(CHANGING, prompt=False, strength=None)},
    video=VideoCapabilities(frames=25, frames_multiple=4, max_frames=81, fps=8, last_image=False),
)


def ask(operation: Any = "generate", **fields: Any) -> ImageRequest:
    """Return a checked request."""
    prompts = fields.get("prompts", ("a cat",))
    return replace(ImageRequest(operation, prompts, (None,) * len(prompts)), **fields)


def plan(
    request: ImageRequest | None = None,
    *,
    capabilities: Capabilities = ABLE,
    defaults: GenerationDefaults = GenerationDefaults(),  # noqa: B008 - frozen
    **more: Any,
) -> tuple[PlannedPicture, ...]:
    """Return the plan of a request, which has the seed 7 where it would be random."""
    request = request or ask()
    given: dict[str, Any] = {
        "written": request,
        "family_sampler": False,
        "random_seed": 7,
        "max_pixels": 2048 * 2048,
        **more,
    }
    return plan_pictures(request, capabilities=capabilities, defaults=defaults, **given)


def check_refusal(error: APIError, *, param: str, says: str, code: str | None = None) -> None:
    """Check that an error is a 400 which names the field."""
    assert error.status == 400
    assert error.param == param
    assert error.message.startswith(f"{param}: ")
    assert says in error.message
    assert code is None or error.code == code
