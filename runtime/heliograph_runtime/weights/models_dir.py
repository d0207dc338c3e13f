"""Fetched files among the others of a models folder, as `heliograph serve` has them.

They are in a volume of their own in there. `download_files` are linked to where their names say, since other fields,
and other models, name them by that.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from uuid import uuid4

VOLUME = ".heliograph"
"""The volume's folder in the models folder."""


def present_in(models_dir: Path) -> Callable[[str], bool]:
    """Return what tells whether a path is there already; the links of `link_files` don't count."""

    def present(path: str) -> bool:
        found = models_dir / path
        return found.exists() and not _is_ours(found, models_dir)

    return present


def link_files(models_dir: Path, name: str, places: Iterable[str]) -> None:
    """Link files of a model's folder to the same places in the models folder, in place of earlier links.

    A link that leads there already is left alone, so that a folder with all of them need not be writable.

    Args:
        models_dir: The models folder.
        name: Name of the model's folder.
        places: Their places.

    Raises:
        OSError: The models folder can't be written, or has another file there.
    """
    for place in places:
        link = models_dir / place
        target = Path(os.path.relpath(models_dir / VOLUME / "models" / name / place, link.parent))
        if not _is_ours(link, models_dir):
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target)
        elif link.readlink() != target:
            # By one rename: another model's runtime may be about to read it.
            changed = link.with_name(f".{uuid4().hex}")
            changed.symlink_to(target)
            changed.replace(link)


def _is_ours(path: Path, models_dir: Path) -> bool:
    if not path.is_symlink():
        return False
    return Path(os.path.normpath(path.parent / path.readlink())).is_relative_to(models_dir / VOLUME)
