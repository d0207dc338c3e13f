"""LoRA adapters of the spec, and their weights in one pipeline call."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heliograph_api.spec import ImageModelSpec
from heliograph_runtime.engines.diffusers.checkpoints import check_safetensors
from heliograph_runtime.engines.paths import inside
from heliograph_runtime.engines.protocol import LoadError

_FILE = "pytorch_lora_weights.safetensors"


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
    names: list[str] = []
    weights: list[float] = []
    for field, adapter, weight in _adapters(spec):
        file = _find_file(adapter, models_dir=models_dir, field=field)
        if not hasattr(pipeline, "load_lora_weights"):
            raise LoadError("Unsupported", f"{field}: {type(pipeline).__name__} takes no LoRA; remove it")
        _load(pipeline, file, adapter=_adapter(len(names)), field=field)
        names.append(_unique(_name(adapter), taken=names))
        weights.append(weight)
    loras = Loras(tuple(names), tuple(weights))
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


def _find_file(adapter: str, *, models_dir: Path, field: str) -> Path:
    path = inside(adapter, models_dir=models_dir, field=field)
    path = inside(path / _FILE, models_dir=models_dir, field=field) if path.is_dir() else path
    check_safetensors(path, field=field)
    return path


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


def _adapters(spec: ImageModelSpec) -> Iterator[tuple[str, str, float]]:
    """Yield field, path and weight of each adapter; weights that are not given are 1."""
    if spec.lora_adapter:
        yield "lora_adapter", spec.lora_adapter, 1.0 if spec.lora_scale is None else spec.lora_scale
    scales = spec.lora_scales or []
    for index, adapter in enumerate(spec.lora_adapters or ()):
        yield f"lora_adapters[{index}]", adapter, scales[index] if index < len(scales) else 1.0


def _name(adapter: str) -> str:
    """Return what an adapter is called: its file's name, or its folder's where all files are called alike."""
    path = Path(adapter)
    path = path.parent if path.name == _FILE and path.parent.name else path
    return path.name.removesuffix(".safetensors")


def _unique(name: str, *, taken: Sequence[str]) -> str:
    candidates = (name, *(f"{name}-{number}" for number in range(2, len(taken) + 2)))
    return next(candidate for candidate in candidates if candidate not in taken)
