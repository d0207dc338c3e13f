"""LoRA adapters of the spec, and their weights in one pipeline call."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heliograph_api.spec import ImageModelSpec
from heliograph_runtime.engines.adapters import spec_adapters
from heliograph_runtime.engines.diffusers.checkpoints import check_safetensors
from heliograph_runtime.engines.protocol import LoadError


@dataclass(frozen=True)
class Loras:
    """The adapters of a loaded pipeline.

    Attributes:
        names: What requests call them.
        weights: Weight of each where a request names none.
    """

    names: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()


def load_loras(pipeline: Any, spec: ImageModelSpec, *, models_dir: Path) -> Loras:
    """Load the adapters of a spec into a pipeline, with the weights that the spec gives them.

    Raises:
        LoadError: One is missing, unsafe, or made for another model.
    """
    adapters = spec_adapters(spec, models_dir=models_dir)
    for index, adapter in enumerate(adapters):
        check_safetensors(adapter.file, field=adapter.field)
        if not hasattr(pipeline, "load_lora_weights"):
            raise LoadError("Unsupported", f"{adapter.field}: {type(pipeline).__name__} takes no LoRA; remove it")
        _load(pipeline, adapter.file, adapter=_adapter(index), field=adapter.field)
    loras = Loras(tuple(adapter.name for adapter in adapters), tuple(adapter.weight for adapter in adapters))
    if loras.names:
        _set(pipeline, loras.weights)
    return loras


@contextmanager
def weighed(pipeline: Any, loras: Loras, weights: Sequence[float] | None) -> Iterator[None]:
    """Give the adapters of a pipeline these weights inside the block; None for those of the spec."""
    if weights is None or tuple(weights) == loras.weights:
        yield
        return
    try:
        _set(pipeline, weights)
        yield
    finally:
        _set(pipeline, loras.weights)


def _adapter(index: int) -> str:
    """Return the name of an adapter in the pipeline, where a dot, as many file names have one, is not allowed."""
    return f"adapter_{index}"


def _set(pipeline: Any, weights: Sequence[float]) -> None:
    pipeline.set_adapters([_adapter(index) for index in range(len(weights))], list(weights))


def _load(pipeline: Any, file: Path, *, adapter: str, field: str) -> None:
    try:
        pipeline.load_lora_weights(
            str(file.parent), weight_name=file.name, adapter_name=adapter, local_files_only=True, use_safetensors=True
        )
        loaded = any(adapter in adapters for adapters in pipeline.get_list_adapters().values())
    except Exception as error:  # diffusers and peft raise anything
        detail = " ".join(str(error).split())[:300]
        raise LoadError(
            "LoadFailed", f"{field}: {file} is no LoRA for {type(pipeline).__name__}; use one that is ({detail})"
        ) from None
    if not loaded:
        raise LoadError("LoadFailed", f"{field}: {file} holds no LoRA for {type(pipeline).__name__}; use one that does")
