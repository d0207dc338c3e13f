"""What a loaded model can be asked for: the table of a request's fields, narrowed to what the model takes."""

import hashlib
import json
from collections.abc import Iterator

from heliograph_api.capabilities import ModelCapabilities, Parameter, VideoLimits
from heliograph_api.defaults import GenerationDefaults
from heliograph_api.engine import choose_engine
from heliograph_api.images.fields import ANSWER_FIELDS, MAX_SIDE, MIN_SIDE
from heliograph_api.images.inputs import MAX_INPUTS
from heliograph_api.images.loras import MAX_LORAS
from heliograph_api.images.model_rules import DEFAULT_MAX_IMAGES, DEFAULT_MAX_PIXELS
from heliograph_api.images.paths import Operation
from heliograph_api.manifest import ImageModel
from heliograph_api.samplers import resolve_sampling
from heliograph_runtime.engines.protocol import Capabilities, Mode
from heliograph_runtime.images.sampling import CONTROL_STRENGTH
from heliograph_runtime.images.sizes import UPSCALE, default_size

_OPERATIONS: tuple[tuple[Operation, frozenset[Mode]], ...] = (
    ("generate", frozenset({"text"})),
    ("edit", frozenset({"image", "reference", "inpaint"})),
    ("variation", frozenset({"image", "reference"})),
    ("inpaint", frozenset({"inpaint"})),
)
"""What a path is for, and the modes of which a model must have one; any model enlarges pictures."""
_ONLY_PICTURES = frozenset({"background", "output_compression", "output_format", "quality"})


def describe_model(
    model: ImageModel, found: Capabilities, defaults: GenerationDefaults, *, family_sampler: bool
) -> ModelCapabilities:
    """Return what a model can be asked for.

    Args:
        model: The ImageModel.
        found: What the loaded model can do.
        defaults: The ImageModel's own defaults.
        family_sampler: Whether a sampler that nothing names is the family's; see `plan_pictures`.
    """
    limits = model.spec.request_limits
    most = limits.max_pixels or DEFAULT_MAX_PIXELS
    max_pixels = min(most, found.max_pixels or most)
    max_images = limits.max_images or DEFAULT_MAX_IMAGES
    described = _Parameters(
        found, defaults, max_images=max_images, max_pixels=max_pixels, family_sampler=family_sampler
    )
    spec = json.dumps(dict(model.raw_spec), sort_keys=True, separators=(",", ":"), default=str)
    return ModelCapabilities(
        revision=hashlib.sha256(spec.encode()).hexdigest(),
        engine=choose_engine(model.spec).name,
        family=found.family,
        operations=_operations(found),
        parameters=dict(described.all()),
        max_images=max_images,
        max_pixels=max_pixels,
        max_references=found.modes["reference"].max_images if "reference" in found.modes else 0,
        control=any(mode.control for mode in found.modes.values()),
        previews=found.previews and found.video is None,
        loras=found.loras,
        video=_video(found),
    )


def _operations(found: Capabilities) -> tuple[Operation, ...]:
    if found.video:
        return ("video",)
    able = [operation for operation, modes in _OPERATIONS if modes & found.modes.keys()]
    return (*able, "upscale")


def _video(found: Capabilities) -> VideoLimits | None:
    video = found.video
    if video is None:
        return None
    return VideoLimits(
        frames=video.frames,
        min_frames=video.min_frames,
        max_frames=video.max_frames,
        fps=video.fps,
        last_image=video.last_image,
    )


class _Parameters:
    """The parameters of one model."""

    def __init__(
        self,
        found: Capabilities,
        defaults: GenerationDefaults,
        *,
        max_images: int,
        max_pixels: int,
        family_sampler: bool,
    ) -> None:
        self._found = found
        self._defaults = defaults
        self._max_images = max_images
        self._max_pixels = max_pixels
        self._family_sampler = family_sampler

    def all(self) -> Iterator[tuple[str, Parameter]]:
        """Yield them by name, in the order of the table."""
        modes = self._found.modes.values()
        if any(mode.prompt for mode in modes):
            yield "prompt", Parameter()
        if any(mode.negative_prompt for mode in modes) or self._found.true_cfg_scale is not None:
            yield "negative_prompt", Parameter()
        yield "n", Parameter(default=1, maximum=self._max_images)
        if any(mode.sized for mode in modes):
            yield from self._sizes()
        yield from self._steps_and_scales()
        yield from self._sampling()
        yield from self._pictures()
        yield from self._clips()
        yield from self._answers()

    def _sizes(self) -> Iterator[tuple[str, Parameter]]:
        multiple = self._found.size_multiple
        width, height = default_size(self._found, self._defaults, max_pixels=self._max_pixels)
        least = -(-MIN_SIDE // multiple) * multiple
        most = min(MAX_SIDE, self._max_pixels // least) // multiple * multiple
        yield "size", Parameter(default=f"{width}x{height}")
        yield "width", Parameter(default=width, minimum=least, maximum=most, multipleOf=multiple)
        yield "height", Parameter(default=height, minimum=least, maximum=most, multipleOf=multiple)

    def _steps_and_scales(self) -> Iterator[tuple[str, Parameter]]:
        found, defaults = self._found, self._defaults
        if found.steps is not None:
            steps = min(defaults.steps or found.steps, found.max_steps)
            yield "steps", Parameter(default=steps, maximum=found.max_steps)
        scale = defaults.guidance_scale
        if found.guidance_scale is None:
            pass  # Qwen-Image calls its one scale the true one
        elif not found.distilled_guidance:
            yield "guidance_scale", Parameter(default=found.guidance_scale if scale is None else scale)
        elif found.cfg_scale_is_true:
            yield "guidance_scale", Parameter(default=found.true_cfg_scale if scale is None else scale)
            yield "guidance", Parameter(default=found.guidance_scale)
        else:
            yield "guidance", Parameter(default=found.guidance_scale if scale is None else scale)
        if found.true_cfg_scale is not None and not (found.distilled_guidance and found.cfg_scale_is_true):
            yield "true_cfg_scale", Parameter(default=found.true_cfg_scale)

    def _sampling(self) -> Iterator[tuple[str, Parameter]]:
        found, defaults = self._found, self._defaults
        named = defaults.sampler or (found.sampler if self._family_sampler else None)
        sampler, schedule = resolve_sampling(named, None)
        if found.samplers:
            yield "sampler", Parameter(enum=found.samplers, default=sampler if sampler in found.samplers else None)
        if found.schedules:
            yield "schedule", Parameter(enum=found.schedules, default=schedule if schedule in found.schedules else None)
        yield "seed", Parameter(default=defaults.seed)
        if found.max_clip_skip is not None:
            yield "clip_skip", Parameter(default=defaults.clip_skip or 0, maximum=found.max_clip_skip)
        if found.loras:
            yield "loras", Parameter(maxItems=min(len(found.loras), MAX_LORAS))

    def _pictures(self) -> Iterator[tuple[str, Parameter]]:
        modes = self._found.modes
        most = max(mode.max_images for mode in modes.values())
        # Whatever else it does, any model that draws pictures enlarges one.
        if most or self._found.video is None:
            yield "image", Parameter(maxItems=min(max(most, 1), MAX_INPUTS))
        if "reference" in modes:
            yield "ref_images", Parameter(maxItems=min(modes["reference"].max_images, MAX_INPUTS))
        if "inpaint" in modes:
            yield "mask", Parameter()
            yield "invert_mask", Parameter(default=False)
            yield "opaque_mask", Parameter(default=False)
        if any(mode.control for mode in modes.values()):
            yield "control_image", Parameter()
            yield "control_strength", Parameter(default=CONTROL_STRENGTH)
        strength = next((mode.strength for mode in modes.values() if mode.strength is not None), None)
        if strength is not None:
            yield "strength", Parameter(default=strength)
        if self._found.video is None:
            yield "scale", Parameter(default=UPSCALE)

    def _clips(self) -> Iterator[tuple[str, Parameter]]:
        video = self._found.video
        if video is None:
            return
        yield "num_frames", Parameter(default=video.frames, minimum=video.min_frames, maximum=video.max_frames)
        yield "fps", Parameter(default=video.fps)
        yield "seconds", Parameter()
        if video.last_image:
            yield "end_image", Parameter()

    def _answers(self) -> Iterator[tuple[str, Parameter]]:
        for field in ANSWER_FIELDS:
            if self._found.video and field.name in _ONLY_PICTURES:
                continue
            if field.name == "partial_images" and not (self._found.previews and self._found.video is None):
                continue
            yield field.name, Parameter(default="png" if field.name == "output_format" else None)
