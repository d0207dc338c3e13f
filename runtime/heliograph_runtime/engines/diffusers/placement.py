"""Where a model runs: on which device, in which numbers, and which of its parts are there at which time."""

import logging
from collections.abc import Collection, Mapping
from typing import Any, Literal

import torch
from diffusers.hooks.group_offloading import apply_group_offloading

from heliograph_api.spec import ImageModelSpec
from heliograph_runtime.engines.diffusers.options import load_option
from heliograph_runtime.engines.protocol import DeviceMemory, LoadError

Strategy = Literal["resident", "parts", "layers", "spread"]
"""Which weights are on the device: all of them; one part (text encoder, denoiser, VAE) at a time, the others in main
memory; one layer at a time; or all of them, each part on one of several GPUs."""

_DTYPES = {
    "fp16": torch.float16, "float16": torch.float16, "bf16": torch.bfloat16, "bfloat16": torch.bfloat16,
    "fp32": torch.float32, "float32": torch.float32,
}  # fmt: skip
_OFFLOADING = ("cuda", "xpu")  # MPS shares the main memory, so moving parts there and back would win nothing

log = logging.getLogger(__name__)


def choose_device(spec: ImageModelSpec) -> str:
    """Return the device to run on: `cuda` (ROCm calls itself so too), `xpu`, `mps` or `cpu`.

    A GPU of a node is used when the spec asks for one, which is also what makes the cluster hand one out. A Mac's is
    always used, as in LocalAI: it is part of the machine.
    """
    if torch.backends.mps.is_available():
        return "mps"
    if not spec.wants_cuda:
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if torch.xpu.is_available():
        return "xpu"
    log.warning("cuda: no usable CUDA device was found; the model runs on the CPU")
    return "cpu"


def device_memory(device: str) -> DeviceMemory | None:
    """Return what is in use of all GPUs that this process sees; None on a CPU, or a Mac's, which shares its memory.

    A device that does not tell is none either: the pictures that it drew are not to be lost for a figure.
    """
    if device not in {"cuda", "xpu"}:
        return None
    try:
        found = [torch.accelerator.get_memory_info(number) for number in range(torch.accelerator.device_count())]
        name = torch.get_device_module(device).get_device_name(0)
    except RuntimeError as error:
        log.warning("the GPU does not tell its memory: %s", error)
        return None
    free, total = (sum(part) for part in zip(*found, strict=True))
    return DeviceMemory(name, len(found), total - free, total)


def choose_dtype(spec: ImageModelSpec, *, parts: Collection[str], device: str) -> torch.dtype:
    """Return the number type to load in; option `torch_dtype` decides where it is given.

    On a CPU it is float32. On a GPU a model with a UNet (SD 1 and 2, SDXL, SVD) is loaded as LocalAI does it, in
    float16 with `f16` and in float32 without. A model with a transformer is loaded in bfloat16 either way: these are
    trained and published in it, their activations or their text encoder's pass float16's range (black pictures or
    other ones: diffusers issues 9096, 10533 and 8604, Z-Image issue 14, Sana's model card), and float32 would need
    twice the memory, which for the 12 billion weights of FLUX no common GPU has.

    Args:
        spec: The model's spec.
        parts: Names of the model's parts, as in its model_index.json.
        device: Device that it is loaded for.

    Raises:
        LoadError: The option names no type that is known.
    """
    if option := load_option(spec.options or (), "torch_dtype"):
        if option not in _DTYPES:
            raise LoadError("InvalidSpec", f"options: torch_dtype must be one of {', '.join(_DTYPES)}")
        return _DTYPES[option]
    if device == "cpu":
        if spec.f16:
            log.warning("f16: half precision is slow on a CPU; the weights are loaded as float32")
        return torch.float32
    if "unet" in parts:
        return torch.float16 if spec.f16 else torch.float32
    log.info("the weights are loaded as bfloat16, as this family needs it; option torch_dtype chooses another type")
    return torch.bfloat16


def spread_arguments(spec: ImageModelSpec, *, device: str, single_file: bool) -> dict[str, Any]:
    """Return what `from_pretrained` needs to spread the parts over `tensor_parallel_size` GPUs; nothing for one.

    diffusers puts whole parts on GPUs, the biggest first; a part that no GPU holds stays in main memory.

    Raises:
        LoadError: There are not that many GPUs, or the model is a single file, which diffusers can't spread.
    """
    gpus = spec.tensor_parallel_size or 1
    if gpus == 1:
        return {}
    visible = torch.accelerator.device_count() if device in _OFFLOADING else 0
    if visible < gpus:
        raise LoadError(
            "TooFewGPUs",
            f"tensor_parallel_size: {gpus} GPUs are asked for, but {visible} can be used here; "
            "lower it, or give the model more GPUs",
        )
    if single_file:
        raise LoadError(
            "Unsupported",
            "tensor_parallel_size: only a model in a folder can be spread over GPUs, and this one is a single file; "
            "set it to 1, or use the model's folder in diffusers' layout",
        )
    free = {index: torch.accelerator.get_memory_info(index)[0] for index in range(gpus)}
    return {"device_map": "balanced", "max_memory": free}


def choose_strategy(
    part_bytes: Mapping[str, int], *, device: str, free: int | None, working: int, low_vram: bool
) -> Strategy:
    """Return which weights to keep on the device.

    `low_vram` keeps one part there at a time; so does a device that is too small for all of them at once, with a
    warning. Layer by layer is far slower, so it is only for a part that does not fit by itself.

    Args:
        part_bytes: Bytes of the weights of each part.
        device: The device.
        free: Bytes that are free on it; None where nothing tells.
        working: Bytes that a picture takes beside the weights.
        low_vram: Whether the spec asks for it.
    """
    if device not in _OFFLOADING or not part_bytes:
        return "resident"
    fits = free is None or sum(part_bytes.values()) + working <= free
    if fits and not low_vram:
        return "resident"
    if not fits:
        log.warning(
            "the weights (%.1f GiB) do not fit on the device beside a picture's %.1f GiB; "
            "they are kept in main memory and moved there as they are needed, which is slower",
            sum(part_bytes.values()) / 2**30,
            working / 2**30,
        )
    return "parts" if free is None or max(part_bytes.values()) + working <= free else "layers"


def place(pipeline: Any, *, device: str, strategy: Strategy) -> None:
    """Bring a pipeline's parts to where they run.

    Args:
        pipeline: The pipeline, in main memory unless it is spread; pipelines are to share its parts only afterwards.
        device: The device.
        strategy: Which weights to keep there.
    """
    if strategy == "parts":
        # Without a `to(device)` beforehand, which would take the memory that this is to save.
        pipeline.enable_model_cpu_offload(device=device)
    elif strategy == "layers":
        for name, part in modules_of(pipeline).items():
            _offload_layers(part, device=device, keep=name == "vae")
    elif strategy == "resident":
        pipeline.to(device)


def set_decoding(pipeline: Any, *, tiled: bool, one_by_one: bool) -> None:
    """Choose how the VAE decodes a batch.

    Args:
        pipeline: The pipeline.
        tiled: In overlapping tiles or in one piece; only pictures larger than a tile differ, slightly.
        one_by_one: One picture after the other or all together.
    """
    vae: Any = getattr(pipeline, "vae", None)
    if hasattr(vae, "use_tiling"):
        vae.enable_tiling() if tiled else vae.disable_tiling()
    if hasattr(vae, "use_slicing"):
        vae.enable_slicing() if one_by_one else vae.disable_slicing()


def modules_of(pipeline: Any) -> dict[str, torch.nn.Module]:
    """Return the parts of a pipeline that have weights, by name."""
    return {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}


def count_bytes(module: torch.nn.Module) -> int:
    """Return the bytes of a module's weights, quantised ones as they are stored."""
    return sum(_stored_bytes(tensor) for tensor in (*module.parameters(), *module.buffers()))


def _stored_bytes(tensor: torch.Tensor) -> int:
    """Return the bytes of a tensor; one that wraps others, as torchao's do, claims the type that it stands for."""
    if hasattr(tensor, "__tensor_flatten__"):
        names, _ = tensor.__tensor_flatten__()
        return sum(_stored_bytes(getattr(tensor, name)) for name in names)
    return tensor.nbytes


def _offload_layers(part: torch.nn.Module, *, device: str, keep: bool) -> None:
    """Keep a part's layers in main memory and bring each to the device as it runs, the next one while it does.

    The VAE stays on the device: it is small, and its tiles do not run in the order that the prefetching counts on.
    """
    if keep:
        part.to(device)
    else:
        apply_group_offloading(
            part,
            onload_device=torch.device(device),
            offload_device=torch.device("cpu"),
            offload_type="leaf_level",
            use_stream=device == "cuda",
        )
