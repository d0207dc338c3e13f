"""Whether a disk has room for what is about to be written; the standard library alone."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from steps import StepError

if TYPE_CHECKING:
    from pathlib import Path


def require_room(folder: Path, wanted: int, *, doing: str) -> None:
    """Make sure that there is room on a folder's disk, before minutes of work end in an error about some file.

    Args:
        folder: Folder that is there.
        wanted: Bytes.
        doing: What writes them, for the message.

    Raises:
        StepError: There is less.
    """
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise StepError(
            f"{doing} takes about {wanted / 1e9:.1f} GB, and the disk of {folder} has {free / 1e9:.1f} GB free:"
            " make room there, or let HELIOGRAPH_CACHE name a folder on another disk"
        )
