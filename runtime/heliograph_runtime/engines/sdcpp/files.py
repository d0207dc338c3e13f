"""The files of a model: the one that `parameters.model` names, and those that options add."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from heliograph_api.spec import ImageModelSpec
from heliograph_runtime.engines.paths import inside
from heliograph_runtime.engines.protocol import LoadError
from heliograph_runtime.engines.sdcpp.families import holds_diffusion_alone
from heliograph_runtime.engines.sdcpp.headers import read_header
from heliograph_runtime.engines.sdcpp.options import LoadOptions
from heliograph_runtime.engines.sdcpp.tensors import Header

ALL_IN_ONE = "model_path"
DIFFUSION_MODEL = "diffusion_model_path"


@dataclass(frozen=True)
class ModelFile:
    """A file and its header, which is sound."""

    path: Path
    header: Header


def find_files(spec: ImageModelSpec, options: LoadOptions, *, models_dir: Path) -> dict[str, ModelFile]:
    """Return the files of a model by the library's name for what they are.

    Raises:
        LoadError: One is missing, unsafe or broken, lies outside the models folder, or two name the diffusion model.
    """
    files = {role: ModelFile(path, read_header(path, field=_field(role))) for role, path in options.paths.items()}
    if not spec.model:
        return files
    main = inside(spec.model, models_dir=models_dir, field="parameters.model")
    if main.is_dir():
        raise LoadError(
            "UnknownFormat", f"parameters.model: {spec.model} is a folder; name the .gguf or .safetensors file in it"
        )
    header = read_header(main, field="parameters.model")
    alone = options.model_is_diffusion_model or holds_diffusion_alone(header)
    role = DIFFUSION_MODEL if alone else ALL_IN_ONE
    if role in files:
        raise LoadError(
            "InvalidSpec",
            "options: diffusion_model_path and parameters.model both name a diffusion model; remove one of them",
        )
    return {role: ModelFile(main, header), **files}


def find_embeddings(folder: Path | None, *, models_dir: Path) -> Sequence[tuple[str, str]]:
    """Return the textual inversions of a folder, by the words that call them."""
    files = _weights_in(folder, models_dir=models_dir, field="options: embedding_dir")
    return [(name, str(path)) for name, path in files.items()]


def find_loras(folder: Path | None, *, models_dir: Path) -> Mapping[str, Path]:
    """Return the adapters of a folder, by the names that call them."""
    return _weights_in(folder, models_dir=models_dir, field="options: lora_dir")


def _weights_in(folder: Path | None, *, models_dir: Path, field: str) -> dict[str, Path]:
    if folder is None:
        return {}
    found = sorted(path for path in folder.iterdir() if path.suffix in {".safetensors", ".gguf"})
    files = {path.stem: inside(path, models_dir=models_dir, field=field) for path in found}
    for path in files.values():
        read_header(path, field=field)
    return files


def _field(role: str) -> str:
    return "parameters.model" if role in {ALL_IN_ONE, DIFFUSION_MODEL} else f"options: {role}"
