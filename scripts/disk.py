"""Whether disks have room for what is about to be written; the standard library alone."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from steps import StepError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def require_room(wanted: Mapping[Path, int], *, doing: str) -> None:
    """Make sure that disks have room, before minutes of work end in an error about some file.

    Args:
        wanted: Bytes that are about to be written below each folder, which may be yet to be made.
        doing: What writes them, for the message.

    Raises:
        StepError: A disk has less.
    """
    disks: dict[int, tuple[Path, int]] = {}
    for folder, size in wanted.items():
        there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        device = there.stat().st_dev
        first, before = disks.get(device, (there, 0))
        disks[device] = first, before + size
    for folder, size in disks.values():
        free = shutil.disk_usage(folder).free
        if free < size:
            raise StepError(
                f"{doing} takes about {size / 1e9:.1f} GB, and the disk of {folder} has {free / 1e9:.1f} GB free:"
                " make room there, or name a folder on another disk, by HELIOGRAPH_CACHE or, for archives, by --output"
            )
