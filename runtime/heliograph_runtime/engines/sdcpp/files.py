"""The files of a model: the one that `parameters.model` names, and those that options add."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from heliograph_api.spec import ImageModelSpec
from heliograph_runtime.engines.paths import inside, only_file
from heliograph_runtime.engines.protocol import LoadError
from heliograph_runtime.engines.sdcpp.families import holds_diffusion_alone
from heliograph_runtime.engines.sdcpp.headers import read_header
from heliograph_runtime.engines.sdcpp.options import LoadOptions
from heliograph_runtime.engines.sdcpp.tensors import Header, quoted

ALL_IN_ONE = "model_path"
DIFFUSION_MODEL = "diffusion_model_path"

_ENDINGS = frozenset({".safetensors", ".gguf"})
_REMEDY = "fetch the file again"
_CUT_SHORT = re.compile(r"resblocks\.[^.]*$")
_LAYER = re.compile(r"(?<=\.)(\d{1,18})(?=\.)")
_SKIPPED = 3
"""Numbers that layers without weights have, beside one between each two: TAESD's and ESRGAN's."""

log = logging.getLogger(__name__)


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
    files = {role: _read(path, field=_field(role)) for role, path in options.paths.items()}
    if not spec.model:
        return files
    main = inside(spec.model, models_dir=models_dir, field="parameters.model")
    if main.is_dir():
        only = only_file(main, _ENDINGS)
        if only is None:
            raise LoadError(
                "UnknownFormat",
                f"parameters.model: {spec.model} is a folder; name the .gguf or .safetensors file in it",
            )
        main = inside(main / only, models_dir=models_dir, field="parameters.model")
    file = _read(main, field="parameters.model")
    alone = options.model_is_diffusion_model or holds_diffusion_alone(file.header)
    role = DIFFUSION_MODEL if alone else ALL_IN_ONE
    if role in files:
        raise LoadError(
            "InvalidSpec",
            "options: diffusion_model_path and parameters.model both name a diffusion model; remove one of them",
        )
    return {role: file, **files}


def weights_in(folder: Path | None, *, models_dir: Path, field: str) -> Mapping[str, ModelFile]:
    """Return the files of weights of a folder, by their names without ending.

    One that can't be read is left out, with a warning: it must not keep the model and the others from being served.
    """
    found: dict[str, ModelFile] = {}
    for path in sorted(folder.iterdir()) if folder else ():
        if path.suffix not in _ENDINGS:
            continue
        try:
            file = inside(path, models_dir=models_dir, field=field)
            found[path.stem] = ModelFile(file, read_header(file, field=field))
        except LoadError as error:
            log.warning("%s is left out: %s", path.name, error.message)
    return found


def check_names(header: Header, *, field: str) -> None:
    """Raise `LoadError` for names of tensors that stable-diffusion.cpp does not survive.

    It takes room for all layers up to the greatest number, whether they are there or not, and expects names in layers
    of OpenCLIP to go on.
    """
    layers: dict[str, set[int]] = {}
    for name in header.tensors:
        if _CUT_SHORT.search(name):
            raise LoadError("CorruptWeights", f"{field}: the tensor name {quoted(name)} is cut short; {_REMEDY}")
        for match in _LAYER.finditer(name):
            layers.setdefault(name[: match.start()], set()).add(int(match[1]))
    for start, numbers in layers.items():
        if max(numbers) > 2 * len(numbers) + _SKIPPED:
            raise LoadError(
                "CorruptWeights",
                f"{field}: the file has a layer {max(numbers)} of {quoted(start)}, and most before it are missing; "
                f"{_REMEDY}",
            )


def _read(path: Path, *, field: str) -> ModelFile:
    header = read_header(path, field=field)
    check_names(header, field=field)
    return ModelFile(path, header)


def _field(role: str) -> str:
    return "parameters.model" if role in {ALL_IN_ONE, DIFFUSION_MODEL} else f"options: {role}"
