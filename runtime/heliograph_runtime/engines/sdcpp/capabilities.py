"""What a loaded model can do, by its family and the files that it was loaded with."""

from collections import Counter
from collections.abc import Mapping

from heliograph_api.sampler_table import SAMPLERS, SCHEDULES
from heliograph_runtime.engines.protocol import (
    MAX_FRAMES,
    MAX_REFERENCES,
    Capabilities,
    Mode,
    ModeCapabilities,
    VideoCapabilities,
)
from heliograph_runtime.engines.sdcpp import binding
from heliograph_runtime.engines.sdcpp.checking import CheckedModel
from heliograph_runtime.engines.sdcpp.compute import FRAMES_OF_LATENT
from heliograph_runtime.engines.sdcpp.files import ALL_IN_ONE, DIFFUSION_MODEL
from heliograph_runtime.engines.sdcpp.known import EDITOR_MARK, Family
from heliograph_runtime.engines.sdcpp.tensors import Header

PIPELINE = "stable-diffusion.cpp"
_STRENGTH: Mapping[Mode, float] = {"image": 0.75, "inpaint": 1.0}
"""As in llama-box and sd-api-server; what a mask names is drawn all anew."""
_MAX_STEPS = 1000
"""Steps that the noise of training was cut into, for every family."""
_CLIP_LAYERS = 12
"""Layers of CLIP-L, which stable-diffusion.cpp can stop at each of."""
# Where the library has a device beside the CPU, it exports what starts it.
_DEVICES = {
    "ggml_backend_cuda_init": "cuda",
    "ggml_backend_metal_init": "mps",
    "ggml_backend_vk_init": "vulkan",
    "ggml_backend_sycl_init": "xpu",
    "ggml_backend_opencl_init": "opencl",
}


def library_device() -> str:
    """Return the device that the library was built for."""
    return next((device for symbol, device in _DEVICES.items() if binding.exports(symbol)), "cpu")


def read_capabilities(checked: CheckedModel, *, max_pixels: int | None) -> Capabilities:
    """Return what a model can do.

    Args:
        checked: The model.
        max_pixels: Most pixels of a picture that the memory allows; None when nothing tells.
    """
    family, parts = checked.family, checked.headers
    control, guidance = "control_net_path" in parts, family.defaults.guidance
    modes: dict[Mode, ModeCapabilities] = {}
    for mode in _modes(checked):
        modes[mode] = ModeCapabilities(
            pipeline=f"{PIPELINE} ({family.title})",
            negative_prompt=guidance is None or family.defaults.cfg_scale > 1,
            strength=None if family.follows or family.clips else _STRENGTH.get(mode),
            max_images={"text": 0, "reference": MAX_REFERENCES}.get(mode, 1),
            batches=False,
            control=control,
        )
    if checked.options.upscale_model:
        modes["upscale"] = ModeCapabilities(
            pipeline=f"{PIPELINE} (ESRGAN)",
            prompt=False,
            negative_prompt=False,
            sized=False,
            max_images=1,
            batches=False,
        )
    known_samplers, known_schedules = binding.names("sample_method"), binding.names("scheduler")
    return Capabilities(
        family=family.title,
        modes=modes,
        device=library_device(),
        dtype=_weights_type(parts),
        width=family.defaults.width,
        height=family.defaults.height,
        size_multiple=_size_multiple(family),
        max_pixels=max_pixels,
        samplers=tuple(row.name for row in SAMPLERS if row.sdcpp in known_samplers),
        schedules=tuple(
            row.name
            for row in SCHEDULES
            if row.sdcpp and row.name in known_schedules and (row.name != "ays" or family.has_align_your_steps)
        ),
        max_clip_skip=_CLIP_LAYERS - family.clip_stop if family.clip_stop else None,
        max_steps=_MAX_STEPS,
        steps=family.defaults.steps,
        guidance_scale=family.defaults.cfg_scale if guidance is None else guidance,
        distilled_guidance=guidance is not None,
        true_cfg_scale=None if guidance is None else family.defaults.cfg_scale,
        sampler=family.defaults.sampler,
        loras=tuple(adapter.name for adapter in checked.adapters),
        previews=family.clips is None,
        video=_video(family),
        stops_at_step=False,
        cfg_scale_is_true=True,
    )


def _modes(checked: CheckedModel) -> list[Mode]:
    """Return the modes of a model, those for pictures in the order of what it was trained for."""
    family = checked.family
    if family.clips:
        return list(family.clips.modes)
    if family.needs_picture:
        return ["image" if family.follows else "inpaint"]
    if _is_editor(checked):
        return ["text", "reference"]
    if family.references == "first":
        return ["text", "reference", "image", "inpaint"]
    usual: list[Mode] = ["text", "image", "inpaint"]
    return [*usual, "reference"] if family.references else usual


def _video(family: Family) -> VideoCapabilities | None:
    if family.clips is None:
        return None
    return VideoCapabilities(
        frames=family.clips.frames,
        frames_multiple=FRAMES_OF_LATENT,
        max_frames=MAX_FRAMES,
        fps=family.clips.fps,
        last_image=family.clips.last_image,
    )


def _is_editor(checked: CheckedModel) -> bool:
    """Return whether weights were trained to change reference pictures, which is all that they do with pictures."""
    word = checked.family.editor_word
    if word is None:
        return False
    named = any(word in file.path.name.lower() for file in checked.files.values())
    return named or any(name.endswith(EDITOR_MARK) for header in checked.headers.values() for name in header.tensors)


def _size_multiple(family: Family) -> int:
    """Return what sides must be a multiple of (`get_diffusion_model_down_factor`, times the VAE's 8)."""
    if family.clips:
        return family.clips.side_multiple
    return 64 if family.backbone == "unet" else 16


def _weights_type(parts: Mapping[str, Header]) -> str:
    """Return the number type that most bytes of a model's diffusion model have."""
    header = parts.get(DIFFUSION_MODEL) or parts[ALL_IN_ONE]
    sizes: Counter[str] = Counter()
    for tensor in header.tensors.values():
        sizes[tensor.type] += tensor.bytes
    return sizes.most_common(1)[0][0]
