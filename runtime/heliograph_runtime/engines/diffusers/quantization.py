"""Weights in fewer bytes, by option `quantization:NAME`.

| name | weights | runs on |
|---|---|---|
| `int8wo` | 8-bit integers, a scale for each row | every device |
| `qfloat8` | 8-bit floats, a scale for each row | every device |
| `fp8` | 8-bit floats, which the GPU multiplies with 8-bit activations | CUDA from compute capability 8.9, bfloat16 |
| `int4wo` | 4-bit integers, a scale for each 128 | CUDA from compute capability 8.0, bfloat16 |

`fp8` is the one that also makes a model faster; the others save memory and cost some speed. Only linear layers are
quantised, so it is for models with a transformer: much of a UNet's weights are convolutions. torchao does the work. It
does so on loaded weights, so that a single file is as good as a folder.
"""

import logging
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

from heliograph_api.spec import ImageModelSpec
from heliograph_runtime.engines.diffusers.options import load_option
from heliograph_runtime.engines.diffusers.placement import count_bytes, modules_of
from heliograph_runtime.engines.protocol import LoadError

_DENOISERS = frozenset({"unet", "transformer", "transformer_2"})
_LARGE = 1 << 30
"""Weights from which a text encoder is worth quantising: T5-XXL, Gemma and Qwen are, CLIP is not."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scheme:
    """A way to store weights, as far as the device matters.

    Attributes:
        capability: Least compute capability of the CUDA device that it needs; None when every device will do.
        multiple: Both sides of a weight must be multiples of this; others stay as they are.
    """

    capability: tuple[int, int] | None = None
    multiple: int = 1


SCHEMES = {
    "int8wo": Scheme(),
    "qfloat8": Scheme(),
    "fp8": Scheme(capability=(8, 9), multiple=16),
    "int4wo": Scheme(capability=(8, 0), multiple=128),
}


def choose_quantization(spec: ImageModelSpec) -> str | None:
    """Return the quantisation that a spec asks for, or None.

    LocalAI's pipeline type FluxTransformer2DModel asks for one too: FLUX.1 with transformer and T5 as 8-bit floats.
    """
    pipeline_type = (spec.diffusers and spec.diffusers.pipeline_type) or ""
    implied = "qfloat8" if pipeline_type.lower() == "fluxtransformer2dmodel" else None
    return load_option(spec.options or (), "quantization") or implied


def check_quantization(name: str, *, device: str, dtype: torch.dtype, gpus: int) -> None:
    """Refuse a quantisation that can't be had here, before any weight is read.

    Args:
        name: Name of a scheme.
        device: Device that the model will run on.
        dtype: Number type that it is loaded in.
        gpus: Number of GPUs that it is spread over.

    Raises:
        LoadError: The name is unknown, its library is not installed, or the device or number type does not go with it.
    """
    if name not in SCHEMES:
        raise LoadError("InvalidSpec", f"options: quantization must be one of {', '.join(SCHEMES)}, not {name!r}")
    if find_spec("torchao") is None:
        raise LoadError(
            "LibraryMissing",
            f"options: quantization:{name} needs the Python package torchao, which this image lacks; "
            "install Heliograph with its extra quantization, or remove the option",
        )
    if gpus > 1:
        raise LoadError(
            "Unsupported", "options: quantization is for one GPU; remove it, or set tensor_parallel_size to 1"
        )
    capability = torch.cuda.get_device_capability() if device == "cuda" else None
    if problem := unsuitable(SCHEMES[name], capability=capability, dtype=dtype):
        raise LoadError("Unsupported", f"options: quantization:{name} {problem}, or use int8wo")


def unsuitable(scheme: Scheme, *, capability: tuple[int, int] | None, dtype: torch.dtype) -> str | None:
    """Return why a scheme does not go with a device and number type and what to do, or None when it does.

    Args:
        scheme: The scheme.
        capability: Compute capability of the device; None unless it is a CUDA device.
        dtype: Number type that the model is loaded in.
    """
    if scheme.capability is None:
        return None
    needed = ".".join(map(str, scheme.capability))
    if capability is None:
        return f"needs a CUDA device of compute capability {needed}; set cuda"
    if capability < scheme.capability:
        return f"needs compute capability {needed}, and this GPU has {capability[0]}.{capability[1]}; use another GPU"
    if dtype != torch.bfloat16:
        return "needs the other weights as bfloat16; add option torch_dtype:bf16"
    return None


def quantize(pipeline: Any, name: str, *, device: str) -> None:
    """Quantise a pipeline's denoiser and its large text encoders, in main memory and before adapters are loaded.

    The device does the work where it is faster, one part at a time, so that no more than one need fit.

    Args:
        pipeline: The pipeline, in main memory.
        name: A name that `check_quantization` has passed.
        device: Device that the model will run on.
    """
    for part_name, part in modules_of(pipeline).items():
        before = count_bytes(part)
        if part_name in _DENOISERS or (part_name.startswith("text_encoder") and before >= _LARGE):
            _quantize(part, name, device=device)
            log.info("%s: %d bytes of weights became %d as %s", part_name, before, count_bytes(part), name)


def _quantize(part: torch.nn.Module, name: str, *, device: str) -> None:
    torchao: Any = import_module("torchao.quantization")
    configs: dict[str, tuple[str, dict[str, Any]]] = {
        "int8wo": ("Int8WeightOnlyConfig", {}),
        "qfloat8": ("Float8WeightOnlyConfig", {}),
        "fp8": ("Float8DynamicActivationFloat8WeightConfig", {"granularity": torchao.PerRow()}),
        # The one format of 4-bit integers whose kernels are PyTorch's own.
        "int4wo": ("Int4WeightOnlyConfig", {"int4_packing_format": "tile_packed_to_4d"}),
    }
    class_name, arguments = configs[name]
    # The library's recommendations for the compiler are global and make it search for minutes.
    config = getattr(torchao, class_name)(**arguments, set_inductor_config=False)
    multiple = SCHEMES[name].multiple

    def suits(module: torch.nn.Module, _name: str) -> bool:
        return isinstance(module, torch.nn.Linear) and all(side % multiple == 0 for side in module.weight.shape)

    torchao.quantize_(part, config, suits, device=device)
    part.to("cpu")
