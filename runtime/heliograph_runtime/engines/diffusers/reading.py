"""Reads a pipeline from files that have been checked into main memory; nothing here reaches a hub."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import diffusers
import torch

from heliograph_runtime.engines.diffusers.checkpoints import HELD_BY, find_held
from heliograph_runtime.engines.diffusers.files import ModelFiles
from heliograph_runtime.engines.diffusers.placement import modules_of
from heliograph_runtime.engines.protocol import LoadError

# Wan's makers and LocalAI load its VAE in full precision, whatever the rest is loaded in.
_FULL_PRECISION = frozenset({"AutoencoderKLWan"})


def read_pipeline(
    pipeline_class: Any, files: ModelFiles, *, dtype: torch.dtype, prefer_fp16: bool, arguments: Mapping[str, Any]
) -> Any:
    """Return a pipeline made of files, in main memory unless the arguments say otherwise.

    The number type is always given, as the two libraries' defaults differ.

    Args:
        pipeline_class: Its class.
        files: The files.
        dtype: Number type of the weights.
        prefer_fp16: Whether to read the fp16 files where there are others too.
        arguments: Further arguments of `from_pretrained`, for a folder.

    Raises:
        LoadError: The class can't be read from a single file. Whatever else goes wrong is one of diffusers' errors.
    """
    reader = _Reader(files, dtype, _variant(files, prefer_fp16=prefer_fp16))
    if files.single_file:
        pipeline = reader.read_file(pipeline_class, files.single_file)
    else:
        pipeline = reader.read(pipeline_class, **arguments)
    for part in modules_of(pipeline).values():
        part.eval()  # what is made of a single file is left in training, where dropout makes each picture another one
    return pipeline


class _Reader:
    """Reads the files of one model, always with the same number type and variant."""

    def __init__(self, files: ModelFiles, dtype: torch.dtype, variant: str | None) -> None:
        self._files = files
        self._dtype = dtype
        self._folder = str(files.folder)
        self._local = {"variant": variant, "use_safetensors": True, "local_files_only": True}

    def read(self, pipeline_class: Any, **arguments: Any) -> Any:
        """Return a pipeline of the folder."""
        kinds = {name: kind for name, (_, kind) in self._files.components.items()}
        full = {name: torch.float32 for name, kind in kinds.items() if kind in _FULL_PRECISION}
        dtype = {**full, "default": self._dtype} if full else self._dtype
        return pipeline_class.from_pretrained(self._folder, dtype=dtype, **self._local, **arguments)

    def read_file(self, pipeline_class: Any, single_file: Path) -> Any:
        """Return a pipeline of a single file, with what it lacks from the folder.

        A file without a VAE holds the denoiser alone: diffusers would look for the other parts in it all the same.
        """
        held = find_held(single_file)
        given = {"config": self._folder, "local_files_only": True, "torch_dtype": self._dtype}
        if "vae" in held and hasattr(pipeline_class, "from_single_file"):
            lacking = [name for name in HELD_BY if name in self._files.components and name not in held]
            parts = {name: self._part(name) for name in lacking}
            return pipeline_class.from_single_file(str(single_file), **given, **parts)
        name = "transformer" if "transformer" in self._files.components else "unet"
        model_class: Any = getattr(diffusers, self._files.components.get(name, ("", ""))[1], None)
        if not hasattr(model_class, "from_single_file"):
            raise LoadError(
                "UnknownFormat",
                f"parameters.model: a {pipeline_class.__name__} can't be read from a single file; "
                "use a folder in diffusers' layout",
            )
        model = model_class.from_single_file(str(single_file), subfolder=name, **given)
        return self.read(pipeline_class, **{name: model})

    def _part(self, name: str) -> Any:
        """Return a part of the folder; None when there are no weights, without which Stable Diffusion 3 can do."""
        if not any((self._files.folder / name).glob("*.safetensors")):
            return None
        library, kind = self._files.components[name]
        model_class = getattr(import_module(library), kind)
        return model_class.from_pretrained(str(Path(self._folder, name)), dtype=self._dtype, **self._local)


def _variant(files: ModelFiles, *, prefer_fp16: bool) -> str | None:
    """Return the variant of the weights to read: one that is preferred, or the only one of some part."""
    weights = [[path.name for path in (files.folder / part).glob("*.safetensors")] for part in files.components]
    for variant in ("fp16", "bf16"):
        marked = [[f".{variant}." in name or f".{variant}-" in name for name in names] for names in weights if names]
        if any(map(any, marked)) and ((prefer_fp16 and variant == "fp16") or any(map(all, marked))):
            return variant
    return None
