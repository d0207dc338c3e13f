"""Which images there are, and what each is made of; the standard library alone."""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from steps import StepError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_GB = 10**9
_TRAINING = "examples/tiny-model/training"
"""What .dockerignore leaves out of the sources, beside compiled modules."""


@dataclass(frozen=True)
class Recipe:
    """One image.

    Attributes:
        name: Its name, without registry and tag.
        containerfile: What it is built from, below images/.
        room: Bytes that its first build takes of the disk in a daemon of our own; half of them are its archive's.
        variant: Value of the build argument VARIANT; None where the Containerfile has none.
        takes_torch_index: Whether its torch comes from TORCH_INDEX; where it is for GPUs, it has that of the locks.
    """

    name: str
    containerfile: str
    room: int
    variant: str | None = None
    takes_torch_index: bool = False


RECIPES = (
    Recipe("heliograph-control-plane", "control-plane.Containerfile", 1 * _GB),
    Recipe("heliograph-fetcher", "fetcher.Containerfile", 1 * _GB),
    Recipe("heliograph-runtime-sdcpp", "runtime-sdcpp.Containerfile", 2 * _GB, variant="cpu"),
    Recipe(
        "heliograph-runtime-diffusers",
        "runtime-diffusers.Containerfile",
        8 * _GB,
        variant="cpu",
        takes_torch_index=True,
    ),
    Recipe("heliograph-runtime-sdcpp-cuda", "runtime-sdcpp.Containerfile", 8 * _GB, variant="cuda"),
    Recipe("heliograph-runtime-diffusers-cuda", "runtime-diffusers.Containerfile", 8 * _GB, variant="cuda"),
)


def choose(names: Sequence[str]) -> list[Recipe]:
    """Return the images of these names, which may lack their `heliograph-`; those for CPUs when there are none.

    Raises:
        StepError: There is no such image.
    """
    if not names:
        return [recipe for recipe in RECIPES if recipe.variant != "cuda"]
    known = {recipe.name: recipe for recipe in RECIPES}
    found = []
    for name in names:
        full = name if name.startswith("heliograph-") else f"heliograph-{name}"
        if full not in known:
            raise StepError(f"NAME: there is no image {name!r}; choose among {', '.join(known)}")
        found.append(known[full])
    return found


def version(root: Path) -> str:
    """Return the project's version, which is the tag of its images."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def default_base(root: Path, containerfile: str) -> str:
    """Return the image that a Containerfile builds on unless told otherwise."""
    match = re.search(r"^ARG BASE=(\S+)$", (root / "images" / containerfile).read_text(encoding="utf-8"), re.MULTILINE)
    if match is None:
        raise StepError(f"images/{containerfile}: has no line ARG BASE=IMAGE")
    return match[1]


def sources(root: Path, containerfile: str) -> list[str]:
    """Return the files and folders of the checkout that a Containerfile copies or mounts, in order."""
    text = (root / "images" / containerfile).read_text(encoding="utf-8").replace("\\\n", " ")
    found: set[str] = set()
    for line in text.splitlines():
        instruction, *words = line.split() or [""]
        if instruction == "COPY" and not words[0].startswith("--from"):
            found.update(words[:-1])
        for word in words:
            options = word.removeprefix("--mount=").split(",") if word.startswith("--mount=type=bind") else []
            if not any(option.startswith("from=") for option in options):
                found.update(option.removeprefix("source=") for option in options if option.startswith("source="))
    return sorted(found)


def build_key(root: Path, containerfile: str, arguments: Mapping[str, str]) -> str:
    """Return a SHA-256 over all that an image is built from: it changes when another build would give another image.

    Args:
        root: The checkout.
        containerfile: Name below images/.
        arguments: What the build is told, secrets as fingerprints.
    """
    digest = hashlib.sha256()
    for path in _files(root, [f"images/{containerfile}", *sources(root, containerfile)]):
        digest.update(f"{path.relative_to(root)}\0{path.stat().st_mode & 0o111}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    for name, value in sorted(arguments.items()):
        digest.update(f"{name}={value}\0".encode())
    return digest.hexdigest()


def _files(root: Path, names: Sequence[str]) -> Iterator[Path]:
    for name in names:
        top = root / name
        if not top.exists():
            raise StepError(f"{name}: is missing, and an image is built from it; restore it from the repository")
        for path in sorted([top] if top.is_file() else top.rglob("*")):
            if path.is_file() and not _is_left_out(path.relative_to(root)):
                yield path


def _is_left_out(path: Path) -> bool:
    """Whether .dockerignore leaves out a file, by its path in the checkout."""
    return path.is_relative_to(_TRAINING) or path.suffix == ".pyc" or "__pycache__" in path.parts
