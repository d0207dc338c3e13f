"""The LoRA adapters that a spec names: their files, what requests call them, and their weights."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from heliograph_api.spec import ImageModelSpec
from heliograph_runtime.engines.paths import inside

_FILE = "pytorch_lora_weights.safetensors"
"""What diffusers calls the file of an adapter in a folder."""


@dataclass(frozen=True)
class Adapter:
    """One adapter.

    Attributes:
        field: Field of the spec that names it.
        name: What requests call it.
        file: Its file, of whatever content.
        weight: Its weight where a request names none.
    """

    field: str
    name: str
    file: Path
    weight: float


def spec_adapters(spec: ImageModelSpec, *, models_dir: Path) -> list[Adapter]:
    """Return the adapters of a spec in its order; weights that are not given are 1.

    Raises:
        LoadError: One is missing, or lies outside the models folder.
    """
    found: list[Adapter] = []
    for field, path, weight in _entries(spec):
        file = inside(path, models_dir=models_dir, field=field)
        file = inside(file / _FILE, models_dir=models_dir, field=field) if file.is_dir() else file
        found.append(Adapter(field, _unique(_name(path), taken=[one.name for one in found]), file, weight))
    return found


def _entries(spec: ImageModelSpec) -> Iterator[tuple[str, str, float]]:
    """Yield field, path and weight of each adapter."""
    if spec.lora_adapter:
        yield "lora_adapter", spec.lora_adapter, 1.0 if spec.lora_scale is None else spec.lora_scale
    scales = spec.lora_scales or []
    for index, adapter in enumerate(spec.lora_adapters or ()):
        yield f"lora_adapters[{index}]", adapter, scales[index] if index < len(scales) else 1.0


def _name(adapter: str) -> str:
    """Return what an adapter is called: its file's name, or its folder's where all files are called alike."""
    path = Path(adapter)
    path = path.parent if path.name == _FILE and path.parent.name else path
    return path.name.removesuffix(".safetensors").removesuffix(".gguf")


def _unique(name: str, *, taken: Sequence[str]) -> str:
    candidates = (name, *(f"{name}-{number}" for number in range(2, len(taken) + 2)))
    return next(candidate for candidate in candidates if candidate not in taken)
