"""Nothing that a model's files hold is executed: weights are safetensors by their content, and no file brings code."""

import json
import re
from pathlib import Path

from heliograph_runtime.engines.diffusers.checkpoints import check_safetensors
from heliograph_runtime.engines.diffusers.files import INDEX, ModelFiles
from heliograph_runtime.engines.paths import inside
from heliograph_runtime.engines.protocol import LoadError

# Files that are, or hold, a pickle: reading one runs what it says.
PICKLES = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle"})
_LIBRARIES = ("diffusers", "transformers")
# Classes that repositories name by their place inside diffusers.
_INSIDE_DIFFUSERS = frozenset({
    ("stable_diffusion", "StableDiffusionSafetyChecker"), ("ltx2", "LTX2TextConnectors"), ("ltx2", "LTX2Vocoder")
})  # fmt: skip
_SHARD_INDEX = re.compile(r"\.safetensors\.index(\.\w+)?\.json$")


def check_model(files: ModelFiles, *, models_dir: Path) -> None:
    """Raise `LoadError` when a file that loading would read is unsafe, broken or outside the models folder.

    A pickle beside safetensors in the same folder is left alone: it is never read. Beside a single file no pickle is,
    since diffusers itself chooses what to read for the parts that the single file lacks.
    """
    _check_index(files)
    if files.single_file:
        check_safetensors(files.single_file)
    for name in files.components:
        folder = inside(files.folder / name, models_dir=models_dir, field="parameters.model")
        if folder.is_dir():
            check_folder(folder, models_dir=models_dir, allow_pickles=files.single_file is None)


def _check_index(files: ModelFiles) -> None:
    """Refuse a model_index.json that asks for classes from anywhere but the installed libraries."""
    if isinstance(files.index.get("_class_name"), list):
        raise LoadError(
            "RemoteCode",
            f"parameters.model: {files.folder / INDEX} names a pipeline with code of its own, which is never run; "
            "use a model of a pipeline that diffusers has",
        )
    for name, (library, class_name) in files.components.items():
        if not name.isidentifier():
            raise LoadError("UnknownFormat", f"parameters.model: {files.folder / INDEX} has a part called {name!r}")
        if library not in _LIBRARIES and (library, class_name) not in _INSIDE_DIFFUSERS:
            raise LoadError(
                "RemoteCode",
                f"parameters.model: {files.folder / INDEX} takes {name} from {library}, but only classes of "
                f"{' and '.join(_LIBRARIES)} are loaded; use a model without code of its own",
            )


def check_folder(
    folder: Path, *, models_dir: Path, field: str = "parameters.model", allow_pickles: bool = True
) -> None:
    """Raise `LoadError` when a file that loading one part of a model would read is unsafe, broken or outside.

    Args:
        folder: The part's folder, with a config and its weights.
        models_dir: The models folder.
        field: Field of the spec to blame.
        allow_pickles: Whether pickles may lie beside safetensors.
    """
    entries = {path.name: inside(path, models_dir=models_dir, field=field) for path in folder.iterdir()}
    safetensors = [name for name in entries if name.endswith(".safetensors")]
    pickles = sorted(name for name in entries if Path(name).suffix in PICKLES)
    if pickles and not (safetensors and allow_pickles):
        raise LoadError(
            "UnsafeWeights",
            f"{field}: {folder / pickles[0]} is a pickle, which can run code as it is read; "
            "convert it to safetensors, or take a revision of the model that has safetensors",
        )
    for name in safetensors:
        check_safetensors(entries[name], field=field)
    for name, path in entries.items():
        if _SHARD_INDEX.search(name):
            _check_shards(path, names=set(safetensors), field=field)


def _check_shards(index: Path, *, names: set[str], field: str) -> None:
    """Refuse an index of shards that points at anything but the safetensors files beside it."""
    try:
        shards = set(json.loads(index.read_bytes())["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        raise LoadError("UnknownFormat", f"{field}: {index} is no index of weights; fetch it again") from None
    for shard in sorted(str(shard) for shard in shards if shard not in names):
        pickled = Path(shard).suffix in PICKLES or "/" in shard
        raise LoadError(
            "UnsafeWeights" if pickled else "WeightsMissing",
            f"{field}: {index} lists {shard}, which is no safetensors file beside it; fetch the model again",
        )
