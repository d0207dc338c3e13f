"""Where a model's files are: looked up inside the models folder, and never outside it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heliograph_runtime.engines.diffusers.checkpoints import check_safetensors, find_family
from heliograph_runtime.engines.paths import inside, only_file
from heliograph_runtime.engines.protocol import LoadError

INDEX = "model_index.json"
CONFIGS = "configs"
"""Folder in the models folder with the configs of single files, one folder for each family."""


@dataclass(frozen=True)
class ModelFiles:
    """The files of one model.

    Attributes:
        folder: Folder in diffusers' layout; for a single file, the folder with the configs that it lacks.
        index: Content of the folder's model_index.json.
        single_file: Checkpoint with all weights in one file, if the model is one.
    """

    folder: Path
    index: Mapping[str, Any]
    single_file: Path | None = None

    @property
    def pipeline(self) -> str:
        """Return the class of the pipeline that the files name."""
        return str(self.index.get("_class_name", ""))

    @property
    def components(self) -> dict[str, tuple[str, str]]:
        """Return the parts that have files of their own: name to library and class."""
        return {
            name: (value[0], value[1])
            for name, value in self.index.items()
            if not name.startswith("_") and isinstance(value, list) and len(value) == 2 and value[0] is not None
        }


def find_model(model: str, *, models_dir: Path) -> ModelFiles:
    """Return the files of a model.

    A folder has to be in diffusers' layout, or to hold a single .safetensors file. What such a file lacks (configs,
    tokenizers, for some families text encoders) is in the folder of the same name beside it (`dream.safetensors`,
    `dream/model_index.json`), else in the folder of its family (`configs/sdxl/model_index.json`).

    Args:
        model: `parameters.model`, a path relative to the models folder.
        models_dir: The models folder.

    Raises:
        LoadError: They are missing, lie outside the models folder, or are in no layout that is known.
    """
    real = inside(model, models_dir=models_dir, field="parameters.model")
    path = models_dir.resolve() / model  # not the link's target: in a cache that has no suffix
    if real.is_dir():
        alone = None if (real / INDEX).exists() else only_file(real, {".safetensors"})
        if alone is None:
            return ModelFiles(real, _read_index(real, models_dir=models_dir))
        path /= alone
        inside(path, models_dir=models_dir, field="parameters.model")
    if path.suffix != ".safetensors":
        raise LoadError(
            "UnsafeWeights" if path.suffix in {".ckpt", ".bin", ".pt", ".pth", ".pkl"} else "UnknownFormat",
            f"parameters.model: {model} is no .safetensors file, and only those are loaded; convert it to safetensors",
        )
    folder = _config_folder(path, models_dir=models_dir)
    return ModelFiles(folder, _read_index(folder, models_dir=models_dir), single_file=path)


def _config_folder(file: Path, *, models_dir: Path) -> Path:
    """Return the folder with what a checkpoint in a single file lacks."""
    own = file.with_suffix("")
    if own.is_dir():
        return inside(own, models_dir=models_dir, field="parameters.model")
    check_safetensors(file)
    family = find_family(file)
    if family is None:
        raise LoadError(
            "ConfigMissing",
            f"parameters.model: {file.name} holds weights of a family that is not known from its tensors; put the "
            f"configs and tokenizers of its repository into {own}, with its {INDEX}",
        )
    shared = models_dir.resolve() / CONFIGS / family.name
    if shared.is_dir():
        return inside(shared, models_dir=models_dir, field="parameters.model")
    lacking = "configs and tokenizers" if family.complete else "configs, tokenizers, text encoders and VAE"
    raise LoadError(
        "ConfigMissing",
        f"parameters.model: {file.name} is a {family.title} checkpoint, which holds weights alone; put the {lacking} "
        f"of a {family.title} repository, with its {INDEX}, into {shared} or into {own}",
    )


def _read_index(folder: Path, *, models_dir: Path) -> Mapping[str, Any]:
    index = folder / INDEX
    if not index.exists():
        raise LoadError(
            "UnknownFormat",
            f"parameters.model: {folder} holds no {INDEX}; a model folder must be in diffusers' layout",
        )
    try:
        content = json.loads(inside(index, models_dir=models_dir, field="parameters.model").read_bytes())
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise LoadError("UnknownFormat", f"parameters.model: {index} is not a JSON object; fetch the file again")
    return content
