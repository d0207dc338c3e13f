"""What a model's weights and one of its pictures take of a device's memory, and what follows: sizes, batches, tiles.

The figures are estimates for deciding beforehand; `recovery` deals with the memory that runs out all the same.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from heliograph_runtime.engines import container
from heliograph_runtime.engines.diffusers.arguments import FRAMES, call_parameters, spelling
from heliograph_runtime.engines.diffusers.files import ModelFiles
from heliograph_runtime.engines.protocol import LoadError, Sampling

# Peaks of live bytes, simulated on tensors without data with the configs that the families' makers publish (SD 1.5,
# SDXL, SD3, FLUX.1, Qwen-Image, Sana, PixArt, Wan; attention without its matrix, as every kernel but the plainest
# computes it), as numbers of tensors that are as wide as the model: its first channels for each place of a UNet's
# latents (26 for SD 1.5, 16 for SDXL), its hidden size for each token (12 to 18).
_UNET_TENSORS = 26
_TRANSFORMER_TENSORS = 18
# Likewise for a VAE's decoder, in first channels for each pixel (6 for the usual one, 6.5 for Sana's); the causal ones
# of Wan and Qwen-Image keep what the next frames need (18, and 53 in a clip).
_VAE_TENSORS = 7
_CAUSAL_VAE_TENSORS = 18
_CAUSAL_VAE_CLIP_TENSORS = 54
_USUAL_VAE_CHANNELS = 128
_GUIDANCE_ROWS = 2
"""Rows for each picture: guidance draws one with the prompt and one with the negative prompt, in one batch."""
_RESULT_BYTES = 36
"""Bytes for each pixel of a result: three channels as float32, as such again in NumPy, and what rounding takes."""
_USABLE = 0.75
"""Part of the free memory to plan with: kernels need room of their own, and what is free is in pieces."""
_MOST_UNTILED = 2048 * 2048
"""Pixels from which a decoder's largest tensors come near 2**31 numbers, more than many kernels can count."""
_MOST_TOGETHER = 512 * 512
"""Pixels of a batch that a VAE decodes at once."""


@dataclass(frozen=True)
class Footprint:
    """What drawing one picture takes, weights aside, in bytes for each of its pixels.

    Attributes:
        denoise: One step of the denoiser, with guidance.
        decode: The VAE's decoder in one piece, one picture at a time.
        frames_together: Frames of a clip that make one frame of its latents.
        tiles: Whether the VAE can work in tiles instead.
    """

    denoise: float
    decode: float
    frames_together: int
    tiles: bool

    def denoising_bytes(self, pixels: int, *, frames: int = 1) -> float:
        """Return the bytes of a step for one picture or clip."""
        return pixels * (self.denoise * math.ceil(frames / self.frames_together) + _RESULT_BYTES * frames)

    def peak_bytes(self, pixels: int) -> int:
        """Return the most bytes that one picture takes at any time, decoded in one piece."""
        return int(max(self.denoising_bytes(pixels), pixels * self.decode))


@dataclass(frozen=True)
class Budget:
    """What fits into the memory that a loaded model has left.

    Attributes:
        device: Device that the model is on.
        footprint: What a picture takes; None when it can't be told, and then everything is taken to fit.
        arriving: Bytes of weights that are in main memory and come onto the device during a call.
        low_vram: Whether to save memory where it costs little, however much there is.
    """

    device: str
    footprint: Footprint | None
    arriving: int = 0
    low_vram: bool = False

    def max_pixels(self, *, frames: int = 1, least: int = 0) -> int | None:
        """Return the most pixels of one picture, or of each frame of a clip; None when nothing tells.

        Args:
            frames: Frames of a clip.
            least: Pixels of the native size, which an estimate does not forbid.
        """
        usable = self._usable()
        if self.footprint is None or usable is None:
            return None
        each = self.footprint.denoising_bytes(1, frames=frames)
        if not self.footprint.tiles:
            each = max(each, self.footprint.decode)
        return max(least, int(usable / each))

    def at_once(self, sampling: Sampling, wanted: int) -> int:
        """Return how many of the wanted pictures or clips to draw in one call; at least one."""
        usable = self._usable() if wanted > 1 else None
        if self.footprint is None or usable is None:
            return wanted
        each = self.footprint.denoising_bytes(sampling.width * sampling.height, frames=sampling.frames or 1)
        return min(wanted, max(1, int(usable / each)))

    def tiled(self, sampling: Sampling) -> bool:
        """Return whether the VAE should work in tiles: to save memory, or because one piece would be too large."""
        pixels = sampling.width * sampling.height
        if self.low_vram or pixels > _MOST_UNTILED:
            return True
        usable = self._usable()
        return self.footprint is not None and usable is not None and pixels * self.footprint.decode > usable

    def one_by_one(self, sampling: Sampling, pictures: int) -> bool:
        """Return whether the VAE should decode the pictures of a batch one after the other.

        It should to save memory, and where each keeps the device busy anyhow; small ones are quicker together.
        """
        pixels = sampling.width * sampling.height * pictures
        if self.low_vram or sampling.frames or pixels > _MOST_TOGETHER:
            return True
        usable = self._usable()
        return self.footprint is None or (usable is not None and pixels * self.footprint.decode > usable)

    def _usable(self) -> int | None:
        free = free_bytes(self.device)
        return None if free is None else max(0, int((free - self.arriving) * _USABLE))


def read_footprint(pipeline: Any) -> Footprint | None:
    """Return what a picture of a pipeline takes, by its parts' configs; None for a denoiser of unknown width."""
    unet, transformer, vae = (getattr(pipeline, name, None) for name in ("unet", "transformer", "vae"))
    denoiser = unet or transformer
    config: Mapping[str, Any] = getattr(denoiser, "config", {})
    if unet is not None:
        width, side, tensors = (config.get("block_out_channels") or (None,))[0], 1, _UNET_TENSORS
    else:
        width, side, tensors = _hidden_size(config), _patch(pipeline, config), _TRANSFORMER_TENSORS
    if width is None:
        return None
    place = (getattr(pipeline, "vae_scale_factor", 8) * side) ** 2
    clip = spelling(call_parameters(type(pipeline)), FRAMES) is not None
    return Footprint(
        denoise=tensors * width * _GUIDANCE_ROWS * _item_size(denoiser) / place,
        decode=_vae_tensors(vae, clip=clip) * _vae_item_size(vae),
        frames_together=getattr(pipeline, "vae_scale_factor_temporal", 1),
        tiles=hasattr(vae, "use_tiling"),
    )


def free_bytes(device: str) -> int | None:
    """Return the bytes that are free on a device, with what PyTorch keeps for reuse; None when nothing tells."""
    if device == "cpu":
        return container.available_memory()
    if device == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    free, _ = torch.accelerator.get_memory_info()
    return free + torch.accelerator.memory_reserved() - torch.accelerator.memory_allocated()


def check_fits(files: ModelFiles, *, device: str, dtype: torch.dtype) -> None:
    """Refuse weights that a CPU's memory can never hold, which would otherwise end in a kill without a word.

    Raises:
        LoadError: They are larger than all the memory that this process may use.
    """
    limit = container.memory_limit() if device == "cpu" else None
    needed = count_weights(files) * dtype.itemsize
    if limit is not None and needed > limit:
        raise LoadError(
            "TooLittleMemory",
            f"parameters.model: its weights take {needed / 2**30:.1f} GiB as {str(dtype).removeprefix('torch.')}, but "
            f"only {limit / 2**30:.1f} GiB can be used here; raise the memory limit, run it on a GPU, or load it in "
            "fewer bytes (option torch_dtype:bf16)",
        )


def count_weights(files: ModelFiles) -> int:
    """Return how many numbers a model's weights are, by the headers of its files, which are sound."""
    folders = [files.folder / name for name in files.components]
    total = _count_numbers(files.single_file) if files.single_file else 0
    return total + sum(_count_numbers(path) for folder in folders for path in _weight_files(folder))


def _weight_files(folder: Path) -> list[Path]:
    """Return the files of one variant of a part's weights: the plain ones, else those of the first variant."""
    variants: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        variants.setdefault(path.name.split(".", 1)[1].split("-", 1)[0], []).append(path)
    return variants.get("safetensors") or next(iter(variants.values()), [])


def _count_numbers(path: Path) -> int:
    with safe_open(path, framework="numpy") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 - no mapping


def _hidden_size(config: Mapping[str, Any]) -> int | None:
    """Return the width of a transformer's tokens; Z-Image and its like name it, the others its heads."""
    heads, size = config.get("num_attention_heads"), config.get("attention_head_dim")
    return int(heads * size) if heads and size else config.get("dim")


def _patch(pipeline: Any, config: Mapping[str, Any]) -> int:
    """Return the side of a token in places of the latents: the transformer's patch, or what the pipeline packs."""
    patch = config.get("patch_size") or 1
    factor = getattr(pipeline, "vae_scale_factor", 8)
    processor = getattr(getattr(pipeline, "image_processor", None), "config", {})
    packed = processor.get("vae_scale_factor", factor) // factor
    return int(patch if isinstance(patch, int) else patch[-1]) * max(1, int(packed))


def _vae_tensors(vae: Any, *, clip: bool) -> float:
    """Return how many numbers a decoder holds at its peak for each pixel of the result."""
    config: Mapping[str, Any] = getattr(vae, "config", {})
    if causal := config.get("base_dim"):
        return float(causal) * (_CAUSAL_VAE_CLIP_TENSORS if clip else _CAUSAL_VAE_TENSORS)
    channels = config.get("decoder_block_out_channels") or config.get("block_out_channels") or (_USUAL_VAE_CHANNELS,)
    return float(channels[0] * _VAE_TENSORS)


def _item_size(module: Any) -> int:
    return int(getattr(module, "dtype", torch.float32).itemsize)


def _vae_item_size(vae: Any) -> int:
    """Return the bytes of a number while a VAE decodes; SDXL's overflows in float16 and does so in float32."""
    upcast = getattr(vae, "config", {}).get("force_upcast") and vae.dtype == torch.float16
    return 4 if upcast else _item_size(vae)
