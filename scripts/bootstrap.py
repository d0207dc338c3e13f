"""Make or complete .venv, the project's environment, from a lock: `python3 scripts/bootstrap.py TARGET`.

Needs Python 3.11's standard library alone. Says nothing when there is nothing to do; what an interrupted run had
installed stays, and the next run goes on from there.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from environment import Environment, Requirement, fingerprint, read_lock
from steps import Reporter, StepError, alone, run, run_program

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = (3, 11)
PIP_INSTALL = ("-I", "-m", "pip", "install", "--no-input", "--disable-pip-version-check")
# Measured with torch 2.15.0 on Linux x86_64; another version in the locks may change them.
TORCH_DOWNLOAD, TORCH_INSTALLED = "3.0 GB", "5.5 GB"


def pip(environment: Environment, *arguments: str, reporter: Reporter, doing: str) -> None:
    """Run `pip install` in the environment; the user's pip configuration (indexes, proxies) holds.

    Raises:
        StepError: pip failed.
    """
    run([environment.python, *PIP_INSTALL, *arguments], reporter=reporter, doing=doing)


def install_locked(
    environment: Environment, requirements: Sequence[Requirement], *arguments: str, reporter: Reporter, doing: str
) -> None:
    """Install entries of a lock as they are: wheels alone, checked against their hashes, nothing resolved anew.

    Raises:
        StepError: pip failed.
    """
    strict = ("--no-deps", "--require-hashes", "--only-binary=:all:")
    install_entries(environment, requirements, *strict, *arguments, reporter=reporter, doing=doing)


def install_entries(
    environment: Environment, requirements: Sequence[Requirement], *arguments: str, reporter: Reporter, doing: str
) -> None:
    """Run `pip install` on entries of a lock.

    Raises:
        StepError: pip failed.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".txt", dir=environment.path) as file:
        file.write("\n".join(requirement.text for requirement in requirements) + "\n")
        file.flush()
        pip(environment, *arguments, "-r", file.name, reporter=reporter, doing=doing)


def find_python() -> str:
    """Return the interpreter to build on: the one running this script, else a newer one on PATH.

    Raises:
        StepError: There is none.
    """
    if sys.version_info >= OLDEST_PYTHON:
        return sys.executable
    for minor in range(20, OLDEST_PYTHON[1] - 1, -1):
        if found := shutil.which(f"python3.{minor}"):
            return found
    raise StepError(
        f"Python {platform.python_version()} ({sys.executable}) is too old: Heliograph needs 3.11 or newer. "
        "Install one, or name one: make run PYTHON=/path/to/python3"
    )


def install_debian_package(package: str, *beside: str, missing: str, reporter: Reporter) -> None:
    """Install a package of Debian's.

    Args:
        package: Its name.
        beside: Packages that are installed with it where this release of Debian has them.
        missing: What it is needed for, as the error says it.
        reporter: What to tell the user with.

    Raises:
        StepError: This is no Debian, or the user may not install packages.
    """
    apt_get = shutil.which("apt-get")
    if apt_get is None:
        raise StepError(f"{missing}. Install it, then run the same command again")
    if os.geteuid() != 0:
        raise StepError(
            f"{missing}. Install it, then run the same command again:\n"
            f"  sudo apt-get update && sudo apt-get install -y {package}"
        )
    apt = ["env", "DEBIAN_FRONTEND=noninteractive", apt_get]
    run([*apt, "update"], reporter=reporter, doing="Reading Debian's package lists")
    packages = [package, *filter(_has_debian_package, beside)]
    doing = f"Installing {' '.join(packages)}"
    run([*apt, "install", "-y", "--no-install-recommends", *packages], reporter=reporter, doing=doing)


def _has_debian_package(name: str) -> bool:
    shown = subprocess.run(["apt-cache", "show", name], capture_output=True, check=False)
    return shown.returncode == 0


def ensure_venv_module(python: str, reporter: Reporter) -> None:
    """See to it that `python -m venv` works; Debian ships that part of the standard library in a package of its own.

    Raises:
        StepError: It is not there and we cannot or may not install it.
    """
    probe = "import sys; print('python%d.%d-venv' % sys.version_info[:2]); import ensurepip, venv"
    answer = subprocess.run([python, "-c", probe], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        package = answer.stdout.strip()
        install_debian_package(package, missing=f"{python} lacks its venv module", reporter=reporter)


def make_venv(environment: Environment, reporter: Reporter) -> None:
    """Make an empty environment, unless there is one that pip works in.

    Raises:
        StepError: A step failed.
    """
    if environment.is_usable():
        return
    python = find_python()
    ensure_venv_module(python, reporter)
    doing = f"Making {environment.path.name} with {python}"
    run([python, "-m", "venv", "--clear", str(environment.path)], reporter=reporter, doing=doing)


def install_torch_of_lock(environment: Environment, torch_stack: Sequence[Requirement], reporter: Reporter) -> None:
    """Install torch and its libraries one by one, so that an interruption loses at most one of them.

    Raises:
        StepError: pip failed.
    """
    installed = environment.installed()
    missing = [requirement for requirement in torch_stack if (requirement.name, requirement.version) not in installed]
    if sys.platform != "linux":
        missing = [requirement for requirement in missing if requirement.is_torch]
    for requirement in missing:
        if requirement.name == "torch" and sys.platform == "linux":
            reporter.say(
                f"torch {requirement.version} comes with its CUDA libraries: about {TORCH_DOWNLOAD} to download, "
                f"{TORCH_INSTALLED} on disk.\n"
                "For a smaller CPU build stop here and name an index that has one: make run TORCH_INDEX=<index URL>"
            )
    for number, requirement in enumerate(missing, start=1):
        doing = f"Installing {requirement.name} {requirement.version} ({number} of {len(missing)})"
        install_locked(environment, [requirement], "--progress-bar=raw", reporter=reporter, doing=doing)


def install_torch_of_index(
    environment: Environment, torch_stack: Sequence[Requirement], index: str, reporter: Reporter
) -> None:
    """Install the lock's version of torch in the build that `index` has (X+cpu, say), with what that build requires.

    Raises:
        StepError: pip failed.
    """
    built = [f"{requirement.name}=={requirement.version}" for requirement in torch_stack if requirement.is_torch]
    wanted = ("--progress-bar=raw", "--index-url", index, *built)
    doing = f"Installing {' and '.join(built).replace('==', ' ')} from TORCH_INDEX"
    # Another build of the same version may be there, which pip alone would keep.
    pip(environment, "--no-deps", "--force-reinstall", *wanted, reporter=reporter, doing=doing)
    pip(environment, *wanted, reporter=reporter, doing=f"{doing}: its libraries")


def install_torch(
    environment: Environment, torch_stack: Sequence[Requirement], *, index: str | None, reporter: Reporter
) -> None:
    """Install torch from the lock, or from `index`; a build that an earlier run took from an index is kept.

    Raises:
        StepError: pip failed, or the index is needed again and was not given.
    """
    torch = next(requirement for requirement in torch_stack if requirement.name == "torch")
    state = environment.read_state()
    if index is not None:
        install_torch_of_index(environment, torch_stack, index, reporter)
        environment.write_state(state | {"torch_index": fingerprint(index)})
    elif "torch_index" not in state:
        install_torch_of_lock(environment, torch_stack, reporter)
    elif not any(
        name == "torch" and version.split("+")[0] == torch.version for name, version in environment.installed()
    ):
        raise StepError(
            f"torch {torch.version} is needed now, and this environment's torch came from TORCH_INDEX: "
            "give TORCH_INDEX again, or run `make clean` to begin anew"
        )


def build_from_source(environment: Environment, requirements: Sequence[Requirement], reporter: Reporter) -> None:
    """Compile entries of a lock that have no wheels, with the build tools that the same lock has installed.

    Raises:
        StepError: There is no compiler, or pip failed.
    """
    installed = environment.installed()
    for requirement in requirements:
        if (requirement.name, requirement.version) in installed:
            continue
        if shutil.which("c++") is None:
            missing = f"{requirement.name} is compiled here and needs a C++ compiler"
            install_debian_package("g++", missing=missing, reporter=reporter)
        doing = f"Compiling {requirement.name} {requirement.version} (2 to 3 minutes on 2 cores)"
        strict = ("--no-deps", "--require-hashes", "--no-build-isolation", "--no-binary=:all:")
        install_entries(environment, [requirement], *strict, reporter=reporter, doing=doing)


def install(environment: Environment, lock: Path, *, index: str | None, reporter: Reporter) -> None:
    """Bring the environment to what a lock says and install the project in it, editable.

    Args:
        environment: The environment, which must exist.
        lock: The lock.
        index: The index to take torch from in place of the lock's.
        reporter: What to tell the user with.

    Raises:
        StepError: A step failed.
    """
    environment.drop_unfinished()
    (pinned_pip,) = read_lock(environment.root / "requirements" / "pip.lock")
    if (pinned_pip.name, pinned_pip.version) not in environment.installed():
        install_locked(environment, [pinned_pip], reporter=reporter, doing=f"Installing pip {pinned_pip.version}")
    locked = read_lock(lock)
    doing = f"Installing the packages of {lock.relative_to(environment.root)}"
    rest = [requirement for requirement in locked if not (requirement.is_torch_stack or requirement.is_source)]
    install_locked(environment, rest, "--progress-bar=raw", reporter=reporter, doing=doing)
    if torch_stack := [requirement for requirement in locked if requirement.is_torch_stack]:
        install_torch(environment, torch_stack, index=index, reporter=reporter)
    build_from_source(environment, [requirement for requirement in locked if requirement.is_source], reporter)
    project = ("--no-deps", "--no-build-isolation", "--editable", str(environment.root))
    pip(environment, *project, reporter=reporter, doing="Installing Heliograph itself")


def bootstrap(target: str, *, root: Path, index: str | None, reporter: Reporter) -> None:
    """Make sure that root/.venv is what requirements/TARGET.lock and pyproject.toml ask for.

    Raises:
        StepError: A step failed.
    """
    lock = root / "requirements" / f"{target}.lock"
    inputs = (lock, root / "requirements" / "pip.lock", root / "pyproject.toml", Path(__file__))
    stamp = {target: fingerprint(*(path.read_text() for path in inputs))}
    wanted = stamp if index is None else stamp | {"torch_index": fingerprint(index)}
    environment = Environment(root=root, path=root / ".venv")
    lock_file = root / ".cache" / "bootstrap.lock"
    lock_file.parent.mkdir(exist_ok=True)
    # `make test` beside `make run`.
    with alone(lock_file, reporter, waiting_for="another run to finish .venv"):
        state = environment.read_state()
        if wanted.items() <= state.items():
            return
        if target == "dev" and shutil.which("curl") is None:  # tests run the commands that we print for users
            install_debian_package("curl", missing="The tests need curl", reporter=reporter)
        if not state:
            make_venv(environment, reporter)
            environment.write_state({"root": str(root)})
        install(environment, lock, index=index, reporter=reporter)
        environment.write_state(environment.read_state() | stamp)


def main() -> int:
    """Do what the command line asks; return the exit status."""
    parser = argparse.ArgumentParser(description="Make or complete .venv from a lock.")
    parser.add_argument(
        "target",
        choices=["run", "sdcpp", "dev", "cluster", "release"],
        help="run: what serving with diffusers needs; sdcpp: with stable-diffusion.cpp; dev: what the tests need; "
        "cluster: what brings up the development cluster; "
        "release: what packages are built and audited with",
    )
    target = parser.parse_args().target

    def work(reporter: Reporter) -> int:
        bootstrap(target, root=ROOT, index=os.environ.get("TORCH_INDEX") or None, reporter=reporter)
        return 0

    return run_program(work)


if __name__ == "__main__":
    sys.exit(main())
