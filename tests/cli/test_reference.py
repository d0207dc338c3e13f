"""The generated references say what the code says."""

import runpy
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("script", "page"),
    [
        ("reference.py", "imagemodel.md"),
        ("api.py", "api.md"),
        ("models.py", "models.md"),
        ("conditions.py", "conditions.md"),
        ("values.py", "values.md"),
        ("settings.py", "settings.md"),
        ("metrics.py", "metrics.md"),
    ],
)
def test_a_reference_is_up_to_date(root: Path, script: str, page: str) -> None:
    module = runpy.run_path(str(root / "docs" / script))

    assert (root / "docs" / page).read_text(encoding="utf-8") == module["reference"](), "run `make generate`"
