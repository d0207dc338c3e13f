"""The distribution's extras: what a command says when the packages it needs are not installed."""

from __future__ import annotations

import contextlib
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# The package that tells whether an engine's extra is installed; the extra is named after the engine.
ENGINE_PACKAGES = {"diffusers": "diffusers", "sdcpp": "stable_diffusion_cpp"}

# What gateway and runtime answer with; both import it only when other work has begun.
HTTP_PACKAGES = ("fastapi", "uvicorn")

# What fetches weights.
FETCH_PACKAGES = ("huggingface_hub", "obstore", "safetensors")


@contextlib.contextmanager
def needs_extra(command: str, extra: str) -> Iterator[None]:
    """Turn the import error of a package that is not installed into a line that says what to install.

    Args:
        command: The subcommand that needs the package.
        extra: The extra, or several separated by commas, that brings the package.

    Raises:
        click.ClickException: A package other than ours is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package.startswith("heliograph"):
            raise
        raise missing_extra(command, extra, package) from None


def missing_extra(command: str, extra: str, package: str) -> click.ClickException:
    """Return the error of a command whose extra is not installed."""
    return click.ClickException(
        f"`heliograph {command}` needs the package {package}, which is not installed; "
        f"run: pip install '.[{extra}]' in a checkout, or pip install 'FILE.whl[{extra}]' with Heliograph's wheel"
    )


def require_packages(command: str, extra: str, packages: Iterable[str]) -> None:
    """Check that packages are installed, without importing them.

    Args:
        command: The subcommand that needs the packages.
        extra: The extra, or several separated by commas, that brings them.
        packages: Their import names.

    Raises:
        click.ClickException: One of them is not.
    """
    for package in packages:
        if find_spec(package) is None:
            raise missing_extra(command, extra, package)


def require_engines(command: str, engines: Iterable[str]) -> None:
    """Check that the packages of the gateway and of engines are installed; see `require_packages`."""
    for engine in sorted(set(engines)):
        require_packages(command, f"gateway,{engine}", (*HTTP_PACKAGES, ENGINE_PACKAGES[engine]))
