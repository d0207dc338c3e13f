"""What makes a placed pipeline faster without changing what it draws: the compiler, memory layouts, attention kernels.

Option `compile:true` or `compile:false` decides about the compiler, `attention:NAME` names a kernel; without them the
device decides.
"""

import logging
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Literal

import torch
from diffusers.models.attention_dispatch import AttentionBackendName

from heliograph_runtime.engines.diffusers.placement import Strategy
from heliograph_runtime.engines.protocol import Batch, Capabilities, LoadError, OutOfMemoryError, Sampling

Compile = Literal["off", "blocks", "whole"]
"""What is compiled of the denoiser: nothing; each of the blocks that it repeats; all of it, in one graph."""

_LEAST_CAPABILITY = (8, 0)
"""Compute capability from which the compiler's kernels have bfloat16 tensor cores to use."""
# diffusers' names for PyTorch's own kernels, and PyTorch's switches for them.
_KERNELS = {
    "_native_cudnn": "enable_cudnn_sdp",
    "_native_efficient": "enable_mem_efficient_sdp",
    "_native_flash": "enable_flash_sdp",
    "_native_math": "enable_math_sdp",
}
# Kernels that are fetched from a hub as they are chosen are not among them: nothing here reaches one.
_BACKENDS = tuple(sorted(it.value for it in AttentionBackendName if not it.value.endswith(("_hub", "_npu", "_xla"))))

log = logging.getLogger(__name__)


def choose_compile(
    wanted: bool | None, pipeline: Any, *, device: str, strategy: Strategy, loras: bool, warms_up: bool
) -> Compile:
    """Return what to compile.

    Compiling takes from half a minute to some minutes. It is done before the model is ready, so that no request waits
    for it, but each start of a replica does. Without the option it is done only where little is risked for much: on a
    CUDA device, for a denoiser of repeated blocks (compiling one such block is 8 to 10 times quicker than all of it,
    and makes FLUX.1 1.5 times faster), with all weights in place. It is not done for adapters, whose weights are
    constants to the compiler, so that each new one would mean compiling in the middle of a request; nor for UNets, most
    of whose work is in convolutions outside of the blocks and which therefore are compiled whole.

    Args:
        wanted: The option; None where it is not written.
        pipeline: The pipeline.
        device: Device that it is on.
        strategy: Which of its weights are there.
        loras: Whether it has adapters.
        warms_up: Whether it can draw from text alone, as warming up does.

    Raises:
        LoadError: The option asks for it, and it can't be done.
    """
    if wanted is False:
        return "off"
    blocks = bool(getattr(_denoiser(pipeline), "_repeated_blocks", None)) and getattr(pipeline, "unet", None) is None
    problem = _why_not(device=device, strategy=strategy)
    if wanted:
        if problem:
            raise LoadError("Unsupported", f"options: compile {problem}")
        return "blocks" if blocks else "whole"
    suits = device == "cuda" and blocks and warms_up and not loras and not problem
    return "blocks" if suits and torch.cuda.get_device_capability() >= _LEAST_CAPABILITY else "off"


def accelerate(pipeline: Any, *, device: str, compiling: Compile) -> None:
    """Apply what the device is faster with, and set up the compiler, which compiles as the first pictures are drawn.

    Sizes and batches are symbols to the compiler, so that it need not run again for each new one, which would be in the
    middle of a request. What it can't compile runs as it is.

    Args:
        pipeline: The pipeline, placed.
        device: Device that it is on.
        compiling: What to compile.
    """
    denoiser = _denoiser(pipeline)
    if device == "cuda":
        # As convolutions in float32 are computed anyhow; a picture does not show it.
        torch.set_float32_matmul_precision("high")
        for part in (getattr(pipeline, "unet", None), getattr(pipeline, "vae", None)):
            if part is not None and part.dtype.itemsize == 2:
                part.to(memory_format=torch.channels_last)  # in which tensor cores compute convolutions
    if compiling == "off":
        return
    log.info("compiling the denoiser (%s) before the model is ready; option compile:false leaves it out", compiling)
    torch._dynamo.config.suppress_errors = True  # noqa: SLF001 - where PyTorch's documentation has its settings
    # Else two sizes that happen to be equal at first, such as a width and a height, are taken to be so for ever.
    torch.fx.experimental._config.use_duck_shape = False  # noqa: SLF001 - likewise
    if compiling == "blocks":
        denoiser.compile_repeated_blocks(dynamic=True)
    else:
        denoiser.compile(dynamic=True)


def warm_up(draw: Callable[[Batch], object], found: Capabilities) -> None:
    """Have a compiled model draw, so that it is compiled: one picture, then two, since one is never a symbol.

    Args:
        draw: Draws a batch.
        found: What the model can do; one that does not draw from text is compiled by its first request.
    """
    if "text" not in found.modes:
        return
    sampling = Sampling("text", found.width, found.height, 2, found.guidance_scale, found.true_cfg_scale)
    try:
        for pictures in (1, 2):
            draw(Batch(sampling, ("a picture",) * pictures, None, tuple(range(pictures))))
    except OutOfMemoryError:
        log.warning("a picture of %dx%d does not fit on the device; smaller ones may", found.width, found.height)


def set_attention(pipeline: Any, name: str) -> None:
    """Have attention computed by the kernel that option `attention` names.

    Without the option PyTorch chooses among its own for each shape. One of these, `_native_...`, is switched on for the
    whole process instead of the others, next to the plain one for shapes that it can't do, since diffusers' own switch
    reaches only some families. A kernel of another package is for those families alone.

    Raises:
        LoadError: There is no such kernel, its package is missing, or the family can't use it.
    """
    if name not in _BACKENDS:
        raise LoadError("InvalidSpec", f"options: attention must be one of {', '.join(_BACKENDS)}, not {name!r}")
    if name == "native":
        return
    if name in _KERNELS:
        for kernel, switch in _KERNELS.items():
            getattr(torch.backends.cuda, switch)(kernel in (name, "_native_math"))
        return
    denoiser = _denoiser(pipeline)
    if not any(hasattr(getattr(it, "processor", None), "_attention_backend") for it in denoiser.modules()):
        raise LoadError(
            "Unsupported",
            f"options: attention:{name} has no effect on {type(denoiser).__name__}, which always uses PyTorch's own "
            f"kernels; use one of {', '.join(_KERNELS)}, or remove it",
        )
    try:
        denoiser.set_attention_backend(name)
    except (ImportError, RuntimeError, ValueError) as error:
        detail = " ".join(str(error).split())[:200]
        raise LoadError(
            "LibraryMissing",
            f"options: attention:{name} can't be used here; install its package, or remove it ({detail})",
        ) from None


def _denoiser(pipeline: Any) -> Any:
    return getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)


def _why_not(*, device: str, strategy: Strategy) -> str | None:
    """Return why nothing can be compiled, or None when it can."""
    if strategy != "resident":
        return "needs all weights on one device; remove it, low_vram and tensor_parallel_size, or use a larger GPU"
    if device not in ("cuda", "cpu"):
        return f"does not work on {device}; remove it"
    if device == "cuda" and find_spec("triton") is None:
        return "needs the Python package triton, which this image lacks; install it, or remove it"
    if not any(map(shutil.which, ("cc", "gcc", "clang") if device == "cuda" else ("c++", "g++", "clang++"))):
        return "needs a C compiler, which this image lacks; install one, or remove it"
    return None
