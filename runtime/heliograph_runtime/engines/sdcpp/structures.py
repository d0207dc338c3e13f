"""The library's structures for an order, and what must live as long as they are read."""

import ctypes
from collections.abc import Sequence
from typing import Any

from stable_diffusion_cpp import stable_diffusion_cpp as native

from heliograph_runtime.engines.sdcpp.orders import Order, Pixels

_library: Any = native._lib  # noqa: SLF001 - for the functions that the package declares nowhere

Built = tuple[Any, Sequence[Any]]
"""A structure, and what it points to."""


def picture_order(order: Order) -> Built:
    """Return what the library draws a picture by."""
    params = native.sd_img_gen_params_t()
    _library.sd_img_gen_params_init(ctypes.byref(params))
    kept = _fill(params, order)
    params.batch_count = 1
    params.mask_image, mask = image(order.mask)
    params.control_image, control = image(order.control_image)
    pictures = [image(picture) for picture in order.references]
    references = (native.sd_image_t * len(pictures))(*(made for made, _ in pictures))
    params.ref_images, params.ref_images_count = references, len(pictures)
    params.auto_resize_ref_image = True
    for name, value in (("strength", order.strength), ("control_strength", order.control_strength)):
        if value is not None:
            setattr(params, name, value)
    return params, [kept, mask, control, references, [buffer for _, buffer in pictures]]


def clip_order(order: Order) -> Built:
    """Return what the library draws a clip by."""
    params = native.sd_vid_gen_params_t()
    _library.sd_vid_gen_params_init(ctypes.byref(params))
    kept = _fill(params, order)
    params.video_frames = order.frames
    params.end_image, last = image(order.last_image)
    params.high_noise_sample_params = params.sample_params
    # The library adds these to those of the other model.
    params.high_noise_sample_params.sample_steps = order.high_noise_steps
    params.sample_params.sample_steps = order.steps - order.high_noise_steps
    return params, [kept, last]


def image(picture: Pixels | None) -> tuple[Any, Any]:
    """Return the library's structure for a picture, an empty one for None, and the buffer that it points to."""
    if picture is None:
        return native.sd_image_t(), None
    buffer = (ctypes.c_uint8 * len(picture.data)).from_buffer_copy(picture.data)
    pointer = ctypes.cast(buffer, ctypes.POINTER(ctypes.c_uint8))
    return native.sd_image_t(picture.width, picture.height, picture.channels, pointer), buffer


def _fill(params: Any, order: Order) -> Sequence[Any]:
    """Fill in what pictures and clips have in common; return what must live as long as the structure."""
    params.prompt, params.negative_prompt = order.prompt.encode(), order.negative_prompt.encode()
    params.width, params.height, params.seed = order.width, order.height, order.seed
    params.init_image, first = image(order.init_image)
    loras = (native.sd_lora_t * len(order.loras))(*((False, weight, path.encode()) for path, weight in order.loras))
    params.loras, params.lora_count = loras, len(order.loras)
    sample = params.sample_params
    sample.sample_steps, sample.guidance.txt_cfg = order.steps, order.cfg_scale
    for target, name, value in (
        (params, "clip_skip", order.clip_skip),
        (sample, "sample_method", order.sample_method),
        (sample, "scheduler", order.scheduler),
        (sample, "flow_shift", order.flow_shift),
        (sample.guidance, "distilled_guidance", order.distilled_guidance),
        (sample.guidance, "img_cfg", order.image_scale),
    ):
        if value is not None:
            setattr(target, name, value)
    if order.tiling:
        tiling = params.vae_tiling_params
        tiling.enabled = True
        tiling.tile_size_x, tiling.tile_size_y, tiling.target_overlap = order.tiling
    return [first, loras]
