"""Loads a pipeline from files that have been checked; nothing here reaches a hub."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from heliograph_api.spec import ImageModelSpec
from heliograph_runtime.engines.diffusers.files import ModelFiles, inside
from heliograph_runtime.engines.diffusers.pipelines import find_pipeline
from heliograph_runtime.engines.diffusers.weights import check_safetensors
from heliograph_runtime.engines.protocol import LoadError

_LORA_FILE = "pytorch_lora_weights.safetensors"
_DTYPES = {
    "fp16": torch.float16, "float16": torch.float16, "bf16": torch.bfloat16, "bfloat16": torch.bfloat16,
    "fp32": torch.float32, "float32": torch.float32,
}  # fmt: skip

log = logging.getLogger(__name__)


def choose_device(spec: ImageModelSpec) -> str:
    """Return `cuda` when the spec asks for it and there is one, else `cpu`."""
    if not spec.wants_cuda:
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    log.warning("cuda: no usable CUDA device was found; the model runs on the CPU")
    return "cpu"


def choose_dtype(spec: ImageModelSpec, *, device: str) -> torch.dtype:
    """Return the number type to load in: option `torch_dtype`, else half precision where `f16` asks for it on a GPU.

    Raises:
        LoadError: The option names no type that is known.
    """
    for option in spec.options or ():
        key, _, value = (part.strip() for part in option.partition(":"))
        if key == "torch_dtype":
            if value not in _DTYPES:
                raise LoadError("InvalidSpec", f"options: torch_dtype must be one of {', '.join(_DTYPES)}")
            return _DTYPES[value]
    if spec.f16 and device == "cpu":
        log.warning("f16: half precision is slow on a CPU; the weights are loaded as float32")
    return torch.float16 if spec.f16 and device != "cpu" else torch.float32


def load_pipeline(spec: ImageModelSpec, files: ModelFiles, *, models_dir: Path, device: str, dtype: torch.dtype) -> Any:
    """Return the pipeline of a model, on its device and ready to draw.

    Raises:
        LoadError: diffusers can't make a pipeline of the files.
    """
    pipeline_type = (spec.diffusers and spec.diffusers.pipeline_type) or ""
    pipeline_class = find_pipeline(pipeline_type, named_by_files=files.pipeline)
    try:
        pipeline = _from_files(pipeline_class, files, dtype=dtype, prefer_fp16=bool(spec.f16))
        _add_loras(pipeline, spec, models_dir=models_dir)
        if spec.low_vram and device == "cuda":
            pipeline.enable_model_cpu_offload()
        else:
            pipeline.to(device)
    except LoadError:
        raise
    except Exception as error:  # diffusers raises anything
        log.info("loading failed", exc_info=True)
        detail = " ".join(str(error).split())[:400]
        raise LoadError(
            "LoadFailed",
            f"parameters.model: {pipeline_class.__name__} can't be made of {files.single_file or files.folder}; "
            f"fetch the model again, or correct diffusers.pipeline_type ({detail})",
        ) from None
    pipeline.set_progress_bar_config(disable=True)
    if hasattr(getattr(pipeline, "vae", None), "enable_slicing"):
        pipeline.vae.enable_slicing()  # decodes a batch one by one: the same pictures in a fraction of the memory
    _restore_text_model(pipeline)
    return pipeline


def _from_files(pipeline_class: Any, files: ModelFiles, *, dtype: torch.dtype, prefer_fp16: bool) -> Any:
    """Return the pipeline in main memory; the number type is always given, as the two libraries' defaults differ."""
    if files.single_file:
        return pipeline_class.from_single_file(
            str(files.single_file), config=str(files.folder), local_files_only=True, torch_dtype=dtype
        )
    return pipeline_class.from_pretrained(
        str(files.folder),
        dtype=dtype,
        variant="fp16" if _use_fp16_files(files, prefer=prefer_fp16) else None,
        use_safetensors=True,
        local_files_only=True,
    )


def _use_fp16_files(files: ModelFiles, *, prefer: bool) -> bool:
    """Return whether to read the fp16 files: they are there, and are preferred or the only ones of some part."""
    weights = [[path.name for path in (files.folder / part).glob("*.safetensors")] for part in files.components]
    halves = [[".fp16." in name or ".fp16-" in name for name in names] for names in weights if names]
    return any(map(any, halves)) and (prefer or any(map(all, halves)))


def _add_loras(pipeline: Any, spec: ImageModelSpec, *, models_dir: Path) -> None:
    names: list[str] = []
    scales: list[float] = []
    for field, adapter, scale in _loras(spec):
        path = inside(adapter, models_dir=models_dir, field=field)
        path = inside(path / _LORA_FILE, models_dir=models_dir, field=field) if path.is_dir() else path
        check_safetensors(path, field=field)
        names.append(f"adapter_{len(names)}")
        scales.append(scale)
        pipeline.load_lora_weights(
            str(path.parent), weight_name=path.name, adapter_name=names[-1], local_files_only=True, use_safetensors=True
        )
    if names:
        pipeline.set_adapters(names, scales)


def _loras(spec: ImageModelSpec) -> Iterator[tuple[str, str, float]]:
    """Yield field, path and scale of each adapter; scales that are not given are 1."""
    if spec.lora_adapter:
        yield "lora_adapter", spec.lora_adapter, 1.0 if spec.lora_scale is None else spec.lora_scale
    scales = spec.lora_scales or []
    for index, adapter in enumerate(spec.lora_adapters or ()):
        yield f"lora_adapters[{index}]", adapter, scales[index] if index < len(scales) else 1.0


def _restore_text_model(pipeline: Any) -> None:
    """Let `clip_skip` work: it needs `text_encoder.text_model`, which transformers 5.6 merged into the encoder.

    The attribute is set past torch's own `__setattr__`, which would take the encoder for a part of itself. See issue
    14124 of huggingface/diffusers.
    """
    encoder = getattr(pipeline, "text_encoder", None)
    if type(encoder).__name__ == "CLIPTextModel" and not hasattr(encoder, "text_model"):
        object.__setattr__(encoder, "text_model", encoder)
