"""Paths that a spec names: looked up inside the models folder, and never outside it."""

from collections.abc import Collection
from pathlib import Path

from heliograph_runtime.engines.protocol import LoadError


def inside(path: str | Path, *, models_dir: Path, field: str) -> Path:
    """Return a path as it really is, all links followed.

    Links that stay inside the models folder are followed, since caches on a volume are made of them.

    Args:
        path: The path, relative to the models folder unless it is in it already.
        models_dir: The models folder.
        field: Field of the spec to blame.

    Raises:
        LoadError: It is missing, or lies outside the models folder.
    """
    root = models_dir.resolve()
    looked_up = root / path
    try:
        real = looked_up.resolve(strict=True)
    except (OSError, RuntimeError, ValueError):  # missing, a loop of links, a null character
        raise LoadError(
            "WeightsMissing",
            f"{field}: {path} was not found at {looked_up}; put the files there, or correct the path",
        ) from None
    if not real.is_relative_to(root):
        raise LoadError(
            "PathEscape",
            f"{field}: {looked_up} is a link to a place outside {root}; put the files themselves there",
        )
    return real


def only_file(folder: Path, endings: Collection[str]) -> str | None:
    """Return the name of the one file of a folder that ends so; None when there is none, or more than one."""
    names = [path.name for path in folder.iterdir() if path.suffix in endings]
    return names[0] if len(names) == 1 else None
