"""docs/imagemodel.md says what the schema says."""

import runpy
from pathlib import Path


def test_the_reference_is_up_to_date(root: Path) -> None:
    module = runpy.run_path(str(root / "docs" / "reference.py"))

    assert (root / "docs" / "imagemodel.md").read_text(encoding="utf-8") == module["reference"](), "run `make generate`"
