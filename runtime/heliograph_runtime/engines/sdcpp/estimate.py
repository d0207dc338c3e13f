"""How much memory a model takes under stable-diffusion.cpp, told from the headers of its files alone.

Left out, since headers don't tell them: LoRAs, textual inversions, PhotoMaker, upscalers and caches of steps.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from heliograph_runtime.engines.sdcpp.compute import decoding_bytes, denoising_bytes, text_encoding_bytes
from heliograph_runtime.engines.sdcpp.families import PREFIX, diffusion_tensors
from heliograph_runtime.engines.sdcpp.files import ALL_IN_ONE
from heliograph_runtime.engines.sdcpp.known import Family
from heliograph_runtime.engines.sdcpp.loaded import is_converted, loaded_bytes
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
_DEVICE_CONTEXT = 250 << 20
"""What CUDA takes on the device for itself; source: likewise."""
_PICTURE_FLOATS = 3 * 3
"""Values for each pixel of a result that lie in main memory at once: decoded, scaled and as bytes."""


@dataclass(frozen=True)
class Placement:
    """Where the options put a model.

    Attributes:
        gpu: Whether there is a GPU that the library was built for.
        text_encoders_on_cpu: The option `keep_clip_on_cpu`.
        vae_on_cpu: The option `keep_vae_on_cpu`.
        control_net_on_cpu: The option `keep_control_net_on_cpu`.
        offload: The option `offload_params_to_cpu`.
    """

    gpu: bool = False
    text_encoders_on_cpu: bool = False
    vae_on_cpu: bool = False
    control_net_on_cpu: bool = False
    offload: bool = False

    def on_gpu(self, component: Component) -> bool:
        """Return whether a component runs on the GPU."""
        kept = {
            "text_encoders": self.text_encoders_on_cpu,
            "vae": self.vae_on_cpu,
            "control_net": self.control_net_on_cpu,
        }
        return self.gpu and not kept.get(component, False)


@dataclass(frozen=True)
class Estimate:
    """Bytes that a model takes.

    Attributes:
        weights: Weights in memory by component.
        text_encoding: Compute buffer of the text encoders.
        denoising: Compute buffer of the diffusion model.
        decoding: Compute buffer of the VAE.
        pictures: Results on their way out, in main memory.
        largest_tensor: The largest tensor that is loaded.
        largest_converted: The largest tensor whose type changes as it is loaded.
        threads: Threads that load, each of which reads a tensor of its own.
    """

    weights: Mapping[Component, int]
    text_encoding: int
    denoising: int
    decoding: int
    pictures: int
    largest_tensor: int
    largest_converted: int
    threads: int

    @property
    def weights_bytes(self) -> int:
        """Return the bytes of all weights."""
        return sum(self.weights.values())

    def vram_bytes(self, placement: Placement) -> int:
        """Return the most that is taken on the GPU.

        With `offload`, a component's weights are there only while it runs, and components run one after the other.
        """
        there: set[Component] = {component for component in self.weights if placement.on_gpu(component)}
        if not there:
            return _DEVICE_CONTEXT if placement.gpu else 0
        if placement.offload:
            return _DEVICE_CONTEXT + max(self.weights[component] + self._compute(component) for component in there)
        weights = sum(self.weights[component] for component in there)
        return _DEVICE_CONTEXT + weights + max(self._compute(component) for component in there)

    def ram_bytes(self, placement: Placement) -> int:
        """Return the most that is taken in main memory, while the model is loaded or while it draws."""
        here: set[Component] = {component for component in self.weights if not placement.on_gpu(component)}
        in_memory = self.weights.keys() if placement.offload else here
        weights = sum(self.weights[component] for component in in_memory)
        staged = self.largest_tensor if placement.gpu and not placement.offload else self.largest_converted
        drawing = max((self._compute(component) for component in here), default=0) + self.pictures
        return _PROCESS + weights + max(staged * self.threads, drawing)

    def _compute(self, component: Component) -> int:
        buffers: Mapping[Component, int] = {
            "text_encoders": self.text_encoding,
            "diffusion": self.denoising,
            "vae": self.decoding,
        }
        return buffers.get(component, 0)


def estimate(
    parts: Mapping[str, Header],
    family: Family,
    *,
    width: int,
    height: int,
    frames: int = 1,
    references: int = 0,
    flash_attention: bool = False,
    tile: tuple[int, int] | None = None,
    wtype: str | None = None,
    tae_preview_only: bool = False,
    threads: int = 1,
) -> Estimate:
    """Return what a model takes that draws one result.

    Args:
        parts: Headers of the model's files by the library's name for what they are.
        family: The family of the model.
        width: Width of the result in pixels.
        height: Height of the result in pixels.
        frames: Frames of a clip.
        references: Pictures that the prompt refers to.
        flash_attention: Whether the diffusion model runs with flash attention.
        tile: Width and height of the VAE's tiles in pixels; None without tiling.
        wtype: The type that weights are converted to.
        tae_preview_only: Whether the file of `taesd_path` draws previews alone.
        threads: Threads that load.
    """
    tae_alone = "taesd_path" in parts and not tae_preview_only
    gives_way = {ALL_IN_ONE: tae_alone or "vae_path" in parts, "vae_path": tae_alone}
    replaced = {option for option, others in gives_way.items() if others}
    weights: dict[Component, int] = {}
    largest = converted = 0
    diffusion: dict[str, TensorInfo] = {}
    vae: dict[str, TensorInfo] = {}
    texts: dict[str, TensorInfo] = {}
    for option, component, name, info in _tensors(parts, family):
        if component == "vae" and option in replaced:
            continue
        size = loaded_bytes(name, info, wtype=wtype)
        weights[component] = weights.get(component, 0) + size
        largest = max(largest, size)
        if is_converted(name, info, wtype=wtype):
            converted = max(converted, info.bytes)
        if component == "diffusion" and option != "high_noise_diffusion_model_path":
            diffusion[name] = info
        if component == "vae" and (option != "taesd_path" or tae_alone):
            vae[name] = info
        if component == "text_encoders":
            texts[f"{option}.{name}"] = info
    return Estimate(
        weights=weights,
        text_encoding=text_encoding_bytes(texts),
        denoising=denoising_bytes(
            family,
            diffusion,
            width=width,
            height=height,
            frames=frames,
            references=references,
            flash_attention=flash_attention,
        ),
        decoding=decoding_bytes(vae, width=width, height=height, frames=frames, tile=tile) if vae else 0,
        pictures=width * height * frames * _PICTURE_FLOATS * 4,
        largest_tensor=largest,
        largest_converted=converted,
        threads=threads,
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
