from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return Path(__file__).resolve().parents[2]


@pytest.fixture
def scripts(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its folder scripts/, whose modules can be imported meanwhile."""
    monkeypatch.syspath_prepend(str(root / "scripts"))
    return root / "scripts"


@pytest.fixture
def recipes(scripts: Path) -> ModuleType:
    """Which images there are: scripts/image_recipes.py."""
    return import_module("image_recipes")
