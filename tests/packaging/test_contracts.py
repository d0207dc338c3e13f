"""The import contracts of pyproject.toml hold, and each of them bites when it is broken."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDERS = ["operator", "gateway", "runtime", "cli"]


def lint_imports(checkout: Path, contract: str) -> subprocess.CompletedProcess[str]:
    linter = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    assert linter is not None
    return subprocess.run(
        [linter, "--no-cache", "--no-logo", "--contract", contract],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(str(checkout / folder) for folder in FOLDERS)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Path:
    for folder in FOLDERS:
        shutil.copytree(root / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize("contract", ["layers", "no-io", "torch"])
def test_contract_is_kept(checkout: Path, contract: str) -> None:
    done = lint_imports(checkout, contract)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("contract", "package", "line"),
    [
        ("layers", "operator/heliograph_api", "import heliograph_gateway"),
        ("layers", "operator/heliograph_operator", "import heliograph_runtime"),
        ("layers", "operator/heliograph_operator", "import heliograph"),
        ("layers", "gateway/heliograph_gateway", "import heliograph_operator"),
        ("layers", "gateway/heliograph_gateway", "import heliograph_runtime"),
        ("layers", "runtime/heliograph_runtime", "import heliograph_gateway"),
        ("no-io", "operator/heliograph_api", "import socket"),
        ("no-io", "operator/heliograph_api", "import kubernetes"),
        ("no-io", "operator/heliograph_operator/plan", "import kopf"),
        ("no-io", "operator/heliograph_operator/plan", "from asyncio import sleep"),
        ("torch", "operator/heliograph_operator", "import torch"),
        ("torch", "gateway/heliograph_gateway", "import diffusers"),
        ("torch", "runtime/heliograph_runtime", "from torch import Tensor"),
        ("torch", "cli/heliograph", "import torch"),
    ],
)
def test_contract_is_broken_by(checkout: Path, contract: str, package: str, line: str) -> None:
    (checkout / package / "intruder.py").write_text(f"{line}\n")

    done = lint_imports(checkout, contract)

    assert done.returncode == 1
    assert "intruder" in done.stdout
