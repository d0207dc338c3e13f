"""The models that `heliograph run NAME` serves: one manifest each, with its weights beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from heliograph.serve.manifests import read_file

_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Entry:
    """One model of the catalogue.

    Attributes:
        name: Name on the command line: the manifest's file name without its suffix.
        manifest: The manifest's file.
        description: What the model is, for people.
    """

    name: str
    manifest: Path
    description: str


def folder() -> Path:
    """Return the catalogue's folder: inside an installed package, or examples/ of a clone."""
    packaged = _HERE / "catalogue"
    return packaged if packaged.is_dir() else _HERE.parents[1] / "examples"


def entries() -> list[Entry]:
    """Return the catalogue, sorted by name.

    Raises:
        ManifestError: A file of the catalogue is not valid, which can only be in a clone.
    """
    found = []
    for path in sorted(folder().glob("*.yaml"), key=lambda path: path.stem):
        (_, model), *_ = read_file(path)
        found.append(Entry(path.stem, path, (model.spec.description or "").strip()))
    return found
