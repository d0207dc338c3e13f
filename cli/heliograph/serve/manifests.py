"""The manifests on the command line, read and checked before anything is started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from heliograph.serve.refusals import refusal
from heliograph_api.advice import spec_warnings
from heliograph_api.engine import choose_engine
from heliograph_api.errors import SpecError
from heliograph_api.manifest import ImageModel, read_manifests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

_SUFFIXES = {".yaml", ".yml"}


class ManifestError(Exception):
    """Manifests that cannot be served; the message names the file, the field, the problem and the remedy."""


@dataclass(frozen=True)
class ServedModel:
    """A model and where it came from.

    Attributes:
        model: The model, checked.
        source: The file that it was read from.
        models_dir: Folder in which its relative weight paths are looked up.
    """

    model: ImageModel
    source: Path
    models_dir: Path

    @property
    def has_runtime(self) -> bool:
        """Whether the model gets a process: an alias is a route alone, and a disabled model answers 403."""
        return not self.model.spec.alias and not self.model.spec.disabled


def collect(paths: Sequence[Path], *, models_dir: Path | None, warn: Callable[[str], None]) -> list[ServedModel]:
    """Return the models of manifests and of folders of manifests, in this order.

    A file must be valid. A folder may hold other YAML too (LocalAI's holds language models): there, a file that is no
    image model is reported and left out, as long as one is left.

    Args:
        paths: Files, and folders whose *.yaml and *.yml are read.
        models_dir: Folder of the weights; each manifest's own folder when None.
        warn: Called with one line for each thing that is not done as written.

    Raises:
        ManifestError: A file is not valid, a folder holds no model, or two models claim one name.
    """
    found: list[ServedModel] = []
    for path in paths:
        read = _read_folder(path, warn) if path.is_dir() else read_file(path)
        found += [ServedModel(model, source, (models_dir or source.parent).resolve()) for source, model in read]
    _refuse_shared_names(found)
    for served in found:
        for warning in spec_warnings(served.model.raw_spec, served.model.spec):
            warn(f"{served.model.name} ({served.source}): {warning.message}")
    _warn_of_dangling_aliases(found, warn)
    return found


def read_file(path: Path) -> list[tuple[Path, ImageModel]]:
    """Return the models of one file, each with the file.

    Raises:
        ManifestError: The file is not valid, or holds no model.
    """
    try:
        models = read_manifests(path.read_text(encoding="utf-8"), default_name=path.stem)
        for model in models:
            if not model.spec.alias:
                choose_engine(model.spec)
    except SpecError as error:
        raise ManifestError(f"{path}: {' '.join(str(error).split())}") from None
    except UnicodeDecodeError:
        raise ManifestError(f"{path}: is not text in UTF-8; write a YAML manifest") from None
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror}") from None
    if not models:
        raise ManifestError(f"{path}: is empty; write an ImageModel or a LocalAI model file")
    return [(path, model) for model in models]


def _read_folder(folder: Path, warn: Callable[[str], None]) -> list[tuple[Path, ImageModel]]:
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES and path.is_file())
    except OSError as error:
        raise ManifestError(f"{folder}: cannot be read: {refusal(error)}") from None
    read, refused = [], []
    for path in files:
        try:
            read += read_file(path)
        except ManifestError as error:
            refused.append(str(error))
    if not read:
        why = refused[0] if refused else "it has no *.yaml or *.yml file"
        raise ManifestError(f"{folder}: holds no model that can be served; {why}")
    for problem in refused:
        warn(f"{problem}; the file is left out")
    return read


def _refuse_shared_names(found: Iterable[ServedModel]) -> None:
    owners: dict[str, ServedModel] = {}
    for served in found:
        for route in served.model.routes:
            other = owners.setdefault(route, served)
            if other is not served:
                raise ManifestError(
                    f"{served.source} and {other.source}: both name a model {route!r}; rename one, or serve one of them"
                )


def _warn_of_dangling_aliases(found: Iterable[ServedModel], warn: Callable[[str], None]) -> None:
    routes = {route for served in found for route in served.model.routes}
    for served in found:
        alias = served.model.spec.alias
        if alias and alias not in routes:
            warn(
                f"{served.model.name} ({served.source}): spec.alias: no model {alias!r} is served here; "
                "name its manifest too"
            )
