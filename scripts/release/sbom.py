"""Writes what a lock pins as a bill of materials: CycloneDX, the same bytes each time."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from steps import Reporter, run

if TYPE_CHECKING:
    from pathlib import Path

# What users run: what `make run` installs for each engine, and what is in each image. The other locks hold tools.
SHIPPED = ("run", "sdcpp", "control-plane", "fetcher", "runtime-diffusers", "runtime-sdcpp")


def write(sources: Path, lock: str, target: Path, reporter: Reporter) -> None:
    """Write the bill of materials of a lock.

    Args:
        sources: The checkout.
        lock: The lock's name, such as run.
        target: The file to write.
        reporter: What to tell the user with.

    Raises:
        StepError: The lock cannot be read, or what was made of it is no valid CycloneDX.
    """
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", "--output-reproducible", "--validate"]
    described = ["--pyproject", str(sources / "pyproject.toml"), "--mc-type", "application", "--output-format", "JSON"]
    paths = ["--output-file", str(target), str(sources / "requirements" / f"{lock}.lock")]
    run([*command, *described, *paths], reporter=reporter, doing=f"Writing the bill of materials of {lock}.lock")
