"""What a lock asks for and what the virtual environment holds; the standard library alone."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from steps import StepError

if TYPE_CHECKING:
    from pathlib import Path

STATE = "heliograph.json"


@dataclass(frozen=True)
class Requirement:
    """One entry of a lock.

    Attributes:
        name: The distribution's normalized name.
        version: The pinned version.
        text: The entry as pip reads it: name, version, marker and hashes.
    """

    name: str
    version: str
    text: str

    @property
    def is_torch_stack(self) -> bool:
        """Whether this is of torch's own makers, or one of the libraries that its CUDA build brings along."""
        return self.is_torch or self.name == "triton" or self.name.startswith(("nvidia-", "cuda-"))

    @property
    def is_source(self) -> bool:
        """Whether there are no wheels of this: it is compiled here, for this machine's CPU."""
        return self.name == "stable-diffusion-cpp-python"

    @property
    def is_torch(self) -> bool:
        """Whether this is built along with torch, so that both must come from one index."""
        return self.name in {"torch", "torchvision"}


@dataclass(frozen=True)
class Environment:
    """The virtual environment at `path`, for the checkout at `root`."""

    root: Path
    path: Path

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.path / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        """The folder that pip installs into."""
        return next(self.path.glob("lib/python3*/site-packages"))

    def is_usable(self) -> bool:
        """Whether an environment is there that pip works in: made by hand perhaps, or by a run that was cut off.

        One that was made elsewhere and moved here is not: its scripts name the place where it was.
        """
        if not self.python.is_file() or (self.path / STATE).exists():
            return False
        command = [str(self.python), "-I", "-m", "pip", "--version"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def installed(self) -> set[tuple[str, str]]:
        """Return the normalized name and version of every distribution that pip finished installing."""
        return {
            (normalize(name), version)
            for name, _, version in (
                info.name.removesuffix(".dist-info").partition("-") for info in self.site_packages.glob("*.dist-info")
            )
        }

    def drop_unfinished(self) -> None:
        """Forget packages whose installation was cut off: pip would take them for installed and leave them broken.

        pip unpacks a wheel's metadata before it compiles the modules and writes INSTALLER after that.
        """
        for info in self.site_packages.glob("*.dist-info"):
            if not (info / "INSTALLER").exists():
                shutil.rmtree(info)

    def read_state(self) -> dict[str, str]:
        """Return what earlier runs completed; empty where there is no environment for this checkout."""
        try:
            state = json.loads((self.path / STATE).read_text())
        except (OSError, ValueError):
            return {}
        return state if state.get("root") == str(self.root) and self.python.is_file() else {}

    def write_state(self, state: dict[str, str]) -> None:
        """Record what is complete, at once or not at all."""
        draft = self.path / f"{STATE}.new"
        draft.write_text(json.dumps(state, indent=1) + "\n")
        draft.replace(self.path / STATE)


def normalize(name: str) -> str:
    """Return a distribution's name as package indexes spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(path: Path) -> list[Requirement]:
    """Read a lock of `name==version ; marker` entries, each followed by its indented hashes."""
    entries = re.split(r"\n(?=\S)", path.read_text().strip())
    found = []
    for text in entries:
        match = re.match(r"([\w.-]+)==([^\s;\\]+)", text)
        if match is None:
            raise StepError(f"{path}: cannot read {text.splitlines()[0]!r}; run `make lock` to write it anew")
        found.append(Requirement(name=normalize(match[1]), version=match[2], text=text))
    return found


def fingerprint(*texts: str) -> str:
    """Return one SHA-256 over texts; of TORCH_INDEX only this is kept, since the URL may hold a password."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()
