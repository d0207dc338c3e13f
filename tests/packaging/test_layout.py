"""The folders at the top are path entries and no packages: `operator` as one would shadow the standard library's."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest


def python(code: str, root: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_operator_is_the_standard_librarys(root: Path) -> None:
    found = Path(python("import operator; print(operator.__file__)", root))

    assert found == Path(sysconfig.get_path("stdlib")) / "operator.py"


def test_standard_library_that_needs_operator_imports_in_the_checkout(root: Path) -> None:
    assert python("import collections, functools, random; print(collections.Counter('aab')['a'])", root) == "2"


@pytest.mark.parametrize("folder", ["operator", "gateway", "runtime", "cli"])
def test_folder_is_no_package(root: Path, folder: str) -> None:
    assert not (root / folder / "__init__.py").exists()


@pytest.mark.parametrize(
    ("folder", "package"),
    [
        ("operator", "heliograph_api"),
        ("operator", "heliograph_operator"),
        ("gateway", "heliograph_gateway"),
        ("runtime", "heliograph_runtime"),
        ("cli", "heliograph"),
    ],
)
def test_package_is_typed_and_imported_from_the_checkout(root: Path, folder: str, package: str) -> None:
    home = root / folder / package

    assert (home / "py.typed").is_file()
    assert Path(python(f"import {package}; print({package}.__file__)", root)) == home / "__init__.py"
