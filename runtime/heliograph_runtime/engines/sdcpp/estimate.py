"""How much main memory a model takes under stable-diffusion.cpp, told from the headers of its files alone.

Left out, since headers don't tell them: LoRAs, textual inversions, PhotoMaker, upscalers and caches of steps. So is
what the option `tensor_type_rules` changes: it goes by the library's names of tensors, not by those in the files.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from heapq import nlargest
from typing import Literal

from heliograph_runtime.engines.sdcpp.compute import decoding_bytes, denoising_bytes, text_encoding_bytes
from heliograph_runtime.engines.sdcpp.families import PREFIX, diffusion_tensors
from heliograph_runtime.engines.sdcpp.files import ALL_IN_ONE
from heliograph_runtime.engines.sdcpp.known import Family
from heliograph_runtime.engines.sdcpp.loaded import converted_bytes, loaded_bytes
from heliograph_runtime.engines.sdcpp.tensors import Header, TensorInfo

Component = Literal["diffusion", "text_encoders", "vae", "clip_vision", "control_net"]

_COMPONENTS: Mapping[str, Component] = {
    "diffusion_model_path": "diffusion",
    "high_noise_diffusion_model_path": "diffusion",
    "clip_l_path": "text_encoders",
    "clip_g_path": "text_encoders",
    "t5xxl_path": "text_encoders",
    "llm_path": "text_encoders",
    "llm_vision_path": "text_encoders",
    "vae_path": "vae",
    "taesd_path": "vae",
    "clip_vision_path": "clip_vision",
    "control_net_path": "control_net",
}
_VAE = ("first_stage_model.", "vae.", "tae.")
_UNET_ENCODERS = ("cond_stage_model.", "conditioner.", "te.", "te1.", "te2.")
_OTHER_ENCODERS = ("text_encoders.", "te3.")

_PROCESS = 150 << 20
"""What a process takes before it loads anything; source: gguf-parser's `--platform-footprint`."""
_PICTURE_FLOATS = 3 * 3
"""Values for each pixel of a result that lie in main memory at once: decoded, scaled and as bytes."""
_CONTROL_NET_TYPE = "f32"
"""What matrices of a ControlNet become whatever `wtype` says: the library looks their types up among the others'."""


@dataclass(frozen=True)
class Estimate:
    """Bytes of main memory that a model takes.

    Attributes:
        weights: Weights in memory by component.
        loading: Buffers in which tensors are converted as they are loaded.
        text_encoding: Compute buffer of the text encoders.
        denoising: Compute buffer of the diffusion model.
        decoding: Compute buffer of the VAE.
        pictures: Results on their way out.
    """

    weights: Mapping[Component, int]
    loading: int
    text_encoding: int
    denoising: int
    decoding: int
    pictures: int

    @property
    def drawing_bytes(self) -> int:
        """Return the most that is taken beside the weights while it draws; parts run one after the other."""
        return max(self.text_encoding, self.denoising, self.decoding) + self.pictures

    @property
    def ram_bytes(self) -> int:
        """Return the most that is taken, while the model is loaded or while it draws."""
        return _PROCESS + sum(self.weights.values()) + max(self.loading, self.drawing_bytes)


def estimate(
    parts: Mapping[str, Header],
    family: Family,
    *,
    width: int,
    height: int,
    frames: int = 1,
    flash_attention: bool = False,
    tile: tuple[int, int] | None = None,
    wtype: str | None = None,
    threads: int = 1,
) -> Estimate:
    """Return what a model takes that draws one result.

    Args:
        parts: Headers of the model's files by the library's name for what they are.
        family: The family of the model.
        width: Width of the result in pixels.
        height: Height of the result in pixels.
        frames: Frames of a clip.
        flash_attention: Whether the diffusion model runs with flash attention.
        tile: Width and height of the VAE's tiles in pixels; None without tiling.
        wtype: The type that weights are converted to.
        threads: Threads that load.
    """
    gives_way = {ALL_IN_ONE: "taesd_path" in parts or "vae_path" in parts, "vae_path": "taesd_path" in parts}
    replaced = {option for option, others in gives_way.items() if others}
    weights: dict[Component, int] = {}
    converted: dict[str, list[int]] = {option: [] for option in parts}
    diffusion: dict[str, TensorInfo] = {}
    vae: dict[str, TensorInfo] = {}
    texts: dict[str, TensorInfo] = {}
    for option, component, name, info in _tensors(parts, family):
        if component == "vae" and option in replaced:
            continue
        kind = _CONTROL_NET_TYPE if component == "control_net" else wtype
        weights[component] = weights.get(component, 0) + loaded_bytes(name, info, wtype=kind)
        converted[option].append(converted_bytes(name, info, wtype=kind))
        if component == "diffusion" and option != "high_noise_diffusion_model_path":
            diffusion[name] = info
        if component == "vae":
            vae[name] = info
        if component == "text_encoders":
            texts[f"{option}.{name}"] = info
    return Estimate(
        weights=weights,
        # Each thread keeps a buffer as large as the largest tensor that it converted, until its file is read.
        loading=max((sum(nlargest(threads, sizes)) for sizes in converted.values()), default=0),
        text_encoding=text_encoding_bytes(texts),
        denoising=denoising_bytes(
            family, diffusion, width=width, height=height, frames=frames, flash_attention=flash_attention
        ),
        decoding=decoding_bytes(vae, width=width, height=height, frames=frames, tile=tile) if vae else 0,
        pictures=width * height * frames * _PICTURE_FLOATS * 4,
    )


def _tensors(parts: Mapping[str, Header], family: Family) -> Iterator[tuple[str, Component, str, TensorInfo]]:
    """Yield all tensors that are loaded, with the option of their file and their component."""
    encoders = _UNET_ENCODERS if family.backbone == "unet" else _OTHER_ENCODERS
    for option, header in parts.items():
        own = _COMPONENTS.get(option)
        if own == "diffusion" or option == ALL_IN_ONE:
            for name, info in diffusion_tensors(header).items():
                yield option, "diffusion", name, info
        if option == ALL_IN_ONE:
            for name, info in header.tensors.items():
                if name.startswith(_VAE):
                    yield option, "vae", name, info
                elif name.startswith(encoders) and not name.startswith(PREFIX):
                    yield option, "text_encoders", name, info
        elif own is not None and own != "diffusion":
            for name, info in header.tensors.items():
                yield option, own, name, info
