"""What a model that draws clips can do."""

from collections.abc import Mapping
from typing import Any

from heliograph_runtime.engines.diffusers.arguments import FPS, FRAMES, LAST_IMAGE, call_parameters, number, spelling
from heliograph_runtime.engines.protocol import MAX_FRAMES, VideoCapabilities

_TEMPORAL_FACTORS = ("vae_scale_factor_temporal", "vae_temporal_compression_ratio", "vae_temporal_scale_factor")
# Where nothing names a number: five seconds of LTX-2's 24 frames, and LocalAI's rate.
_FRAMES = 121
_FPS = 16


def read_video_capabilities(pipeline: Any, *, fps: int | None, options: Mapping[str, Any]) -> VideoCapabilities | None:
    """Return what a pipeline can do if it draws clips, or None.

    Args:
        pipeline: The pipeline.
        fps: The family's own frames for each second.
        options: Further keyword arguments of each call.
    """
    parameters = call_parameters(pipeline)
    name = spelling(parameters, FRAMES)
    if name is None:
        return None
    own_fps = number(parameters, FPS)
    multiple = next((int(getattr(pipeline, it)) for it in _TEMPORAL_FACTORS if hasattr(pipeline, it)), 1)
    frames = options.get(name) or number(parameters, FRAMES) or _trained_frames(pipeline) or _FRAMES
    return VideoCapabilities(
        frames=(frames - 1) // multiple * multiple + 1,
        frames_multiple=multiple,
        max_frames=_max_frames(pipeline),
        fps=round(options.get(spelling(parameters, FPS) or "", None) or own_fps or fps or _FPS),
        last_image=_takes_last_image(pipeline),
        # SVD's guidance grows from the first frame to the last; with one frame there is none, and the call fails.
        min_frames=2 if "min_guidance_scale" in parameters else 1,
    )


def needs_last_image(pipeline: Any) -> bool:
    """Return whether a pipeline's weights know clips by their first and last frame only, as Wan's FLF2V do."""
    return bool(getattr(getattr(pipeline, "transformer", None), "config", {}).get("pos_embed_seq_len"))


def _takes_last_image(pipeline: Any) -> bool:
    """Return whether the last frame can be given; Wan's weights that see by CLIP must have been made for it."""
    if spelling(call_parameters(pipeline), LAST_IMAGE) is None:
        return False
    transformer = getattr(getattr(pipeline, "transformer", None), "config", {})
    return transformer.get("image_dim") is None or needs_last_image(pipeline)


def _trained_frames(pipeline: Any) -> int | None:
    """Return the frames that the weights were trained for, where their config says so, as SVD's does."""
    frames = getattr(getattr(pipeline, "unet", None), "config", {}).get("num_frames")
    return int(frames) if frames else None


def _max_frames(pipeline: Any) -> int:
    """Return the most frames of a clip; AnimateDiff's motion modules know no more places than they were trained on."""
    motion = getattr(getattr(pipeline, "motion_adapter", None), "config", {})
    return int(motion.get("motion_max_seq_length", MAX_FRAMES))
