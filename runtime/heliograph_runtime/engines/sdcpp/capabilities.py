"""What a loaded model can do, by its family and the files that it was loaded with."""

from collections import Counter
from collections.abc import Mapping

from heliograph_api.sampler_table import SAMPLERS, SCHEDULES
from heliograph_runtime.engines.protocol import Capabilities, Mode, ModeCapabilities
from heliograph_runtime.engines.sdcpp import binding
from heliograph_runtime.engines.sdcpp.checking import CheckedModel
from heliograph_runtime.engines.sdcpp.files import ALL_IN_ONE, DIFFUSION_MODEL
from heliograph_runtime.engines.sdcpp.known import Family
from heliograph_runtime.engines.sdcpp.tensors import Header

PIPELINE = "stable-diffusion.cpp"
_STRENGTH: Mapping[Mode, float] = {"image": 0.75, "inpaint": 1.0}
"""As in llama-box and sd-api-server; what a mask names is drawn all anew."""
_MAX_STEPS = 1000
"""Steps that the noise of training was cut into, for every family."""
_MAX_REFERENCES = 10
_CLIP_LAYERS = 12
"""Layers of CLIP-L, which stable-diffusion.cpp can stop at each of."""
_CLIP_STOPS = {"sd1": 1, "sd2": 2, "sdxl": 2}
"""The layer of CLIP that families with a UNet stop at, counted from the last one, by the start of their names."""
_REFERRING = ("flux", "qwen-image")
"""Families that can see pictures beside the one that is drawn. Whether weights were trained for it, nothing tells."""
_WITH_AYS = ("sd1", "sdxl")
"""Families that Align Your Steps was worked out for; with others the library only says so, and draws nothing."""
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


def read_capabilities(checked: CheckedModel, *, reads_pictures: bool, max_pixels: int | None) -> Capabilities:
    """Return what a model can do.

    Args:
        checked: The model.
        reads_pictures: Whether its VAE's encoder is loaded.
        max_pixels: Most pixels of a picture that the memory allows; None when nothing tells.
    """
    family, parts = checked.family, checked.headers
    # Tensors do not tell weights that are made for reference pictures.
    kontext = any("kontext" in file.path.name.lower() for file in checked.files.values())
    control, guidance = "control_net_path" in parts, family.defaults.guidance
    modes: dict[Mode, ModeCapabilities] = {}
    for mode in _modes(family, reads_pictures=reads_pictures, kontext=kontext):
        modes[mode] = ModeCapabilities(
            pipeline=f"{PIPELINE} ({family.title})",
            negative_prompt=guidance is None or family.defaults.cfg_scale > 1,
            strength=_STRENGTH.get(mode),
            max_images={"text": 0, "reference": _MAX_REFERENCES}.get(mode, 1),
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
            if row.sdcpp and row.name in known_schedules and (row.name != "ays" or family.name.startswith(_WITH_AYS))
        ),
        max_clip_skip=_CLIP_LAYERS - stop if (stop := clip_layers(family)) else None,
        max_steps=_MAX_STEPS,
        steps=family.defaults.steps,
        guidance_scale=family.defaults.cfg_scale if guidance is None else guidance,
        distilled_guidance=guidance is not None,
        true_cfg_scale=None if guidance is None else family.defaults.cfg_scale,
        sampler=family.defaults.sampler,
        loras=tuple(adapter.name for adapter in checked.adapters),
        previews=True,
        video=None,
        stops_at_step=False,
        cfg_scale_is_true=True,
    )


def _modes(family: Family, *, reads_pictures: bool, kontext: bool) -> list[Mode]:
    if not reads_pictures:
        return ["text"]
    if family.inpaints:
        return ["inpaint"]
    if kontext:
        return ["text", "reference"]
    usual: list[Mode] = ["text", "image", "inpaint"]
    return [*usual, "reference"] if family.name.startswith(_REFERRING) else usual


def clip_layers(family: Family) -> int | None:
    """Return the layer of CLIP that a family stops at, counted from the last one; None where CLIP is not alone."""
    return next((layer for prefix, layer in _CLIP_STOPS.items() if family.name.startswith(prefix)), None)


def _size_multiple(family: Family) -> int:
    """Return what sides must be a multiple of (`get_diffusion_model_down_factor`, times the VAE's 8)."""
    return 64 if family.backbone == "unet" else 16


def _weights_type(parts: Mapping[str, Header]) -> str:
    """Return the number type that most bytes of a model's diffusion model have."""
    header = parts.get(DIFFUSION_MODEL) or parts[ALL_IN_ONE]
    sizes: Counter[str] = Counter()
    for tensor in header.tensors.values():
        sizes[tensor.type] += tensor.bytes
    return sizes.most_common(1)[0][0]
