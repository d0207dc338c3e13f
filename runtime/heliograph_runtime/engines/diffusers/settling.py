"""Gets a model ready to draw on the device that it is to run on: checks, quantises, places, accelerates."""

import logging
from dataclasses import dataclass
from typing import Any

import torch

from heliograph_api.spec import ImageModelSpec
from heliograph_runtime.engines.diffusers.acceleration import accelerate, choose_compile, set_attention
from heliograph_runtime.engines.diffusers.files import ModelFiles
from heliograph_runtime.engines.diffusers.memory import Budget, check_fits, free_bytes, read_footprint
from heliograph_runtime.engines.diffusers.modes import relatives
from heliograph_runtime.engines.diffusers.options import load_option, load_switch
from heliograph_runtime.engines.diffusers.placement import (
    Strategy,
    choose_strategy,
    count_bytes,
    modules_of,
    place,
    spread_arguments,
)
from heliograph_runtime.engines.diffusers.quantization import check_quantization, choose_quantization, quantize

_PICTURE = 1024 * 1024
"""Pixels of a picture for which there is to be memory beside the weights."""
_UNKNOWN_PICTURE = 2 << 30
"""Bytes that such a picture is taken to need where nothing tells."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settled:
    """How a pipeline was made ready.

    Attributes:
        budget: What fits into the memory that is left.
        compiled: Whether the first pictures are to be drawn before the model is ready, as its compiler needs them.
    """

    budget: Budget
    compiled: bool


def check_machine(spec: ImageModelSpec, files: ModelFiles, *, device: str, dtype: torch.dtype) -> dict[str, Any]:
    """Return what this machine adds to the arguments of `from_pretrained`, having refused what it can't do.

    Raises:
        LoadError: The weights can't fit, there are too few GPUs, or a quantisation can't be had here.
    """
    check_fits(files, device=device, dtype=dtype)
    if name := choose_quantization(spec):
        check_quantization(name, device=device, dtype=dtype, gpus=spec.tensor_parallel_size or 1)
    return spread_arguments(spec, device=device, single_file=files.single_file is not None)


def quantize_weights(pipeline: Any, spec: ImageModelSpec, *, device: str) -> None:
    """Quantise a pipeline as its spec asks for it, before adapters are loaded into it."""
    if name := choose_quantization(spec):
        quantize(pipeline, name, device=device)


def settle(pipeline: Any, spec: ImageModelSpec, *, device: str, loras: bool) -> Settled:
    """Bring a pipeline with all its parts to where it runs, and make it fast there.

    Pipelines are to share its parts only afterwards.

    Args:
        pipeline: The pipeline.
        spec: The model's spec.
        device: Device to run on.
        loras: Whether adapters were loaded into it.

    Raises:
        LoadError: An option asks for what the device or the pipeline can't do.
    """
    options = spec.options or ()
    footprint, low_vram = read_footprint(pipeline), bool(spec.low_vram)
    sizes = {name: count_bytes(part) for name, part in modules_of(pipeline).items()}
    strategy: Strategy = "spread"
    if (spec.tensor_parallel_size or 1) == 1:
        working = footprint.peak_bytes(_PICTURE) if footprint else _UNKNOWN_PICTURE
        strategy = choose_strategy(sizes, device=device, free=free_bytes(device), working=working, low_vram=low_vram)
    compiling = choose_compile(
        load_switch(options, "compile"),
        pipeline,
        device=device,
        strategy=strategy,
        loras=loras,
        warms_up="text" in relatives(type(pipeline)),
    )
    if attention := load_option(options, "attention"):
        set_attention(pipeline, attention)
    place(pipeline, device=device, strategy=strategy)
    accelerate(pipeline, device=device, compiling=compiling)
    log.info("%.2f GiB of weights, %s on %s", sum(sizes.values()) / 2**30, strategy, device)
    arriving = max(sizes.values()) if strategy == "parts" else 0
    return Settled(Budget(device, footprint, arriving, low_vram), compiled=compiling != "off")
