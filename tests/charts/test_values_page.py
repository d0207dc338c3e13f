"""The reference of the values: it is made of comments, and one that is missing is found."""

import json
import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts.variants import CHARTS

SCRIPT = CHARTS.parent / "docs" / "values.py"


@pytest.fixture
def script(tmp_path: Path) -> dict[str, Any]:
    """The script, for a copy of a chart under `tmp_path`."""
    (tmp_path / "heliograph-crds").mkdir()
    for name in ("values.yaml", "values.schema.json"):
        shutil.copy(CHARTS / "heliograph-crds" / name, tmp_path / "heliograph-crds")
    found: dict[str, Any] = runpy.run_path(str(SCRIPT))
    found["values"].__globals__["CHARTS"] = tmp_path
    return found


def test_every_value_of_the_charts_is_there() -> None:
    module = runpy.run_path(str(SCRIPT))

    def paths(node: Any, place: str) -> set[str]:
        found = {place} if place else set()
        if isinstance(node, dict):
            found |= {path for key, value in node.items() for path in paths(value, f"{place}.{key}" if place else key)}
        return found

    for chart in ("heliograph", "heliograph-crds", "heliograph-models"):
        named = {value.path for value in module["values"](chart)}
        written = paths(yaml.safe_load((CHARTS / chart / "values.yaml").read_text()), "")
        # What is inside a value that is one object to the schema, such as resources, has no entry of its own.
        assert named <= written
        assert all(any(path.startswith(f"{name}.") for name in named) for path in written - named)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("keep: true\n", "keep: has no comment in values.yaml"),
        ("# About something else.\n\nkeep: true\n", "keep: has no comment in values.yaml"),
        ("# Whether.\nkept: true\n", "kept: values.schema.json does not have it"),
    ],
)
def test_a_value_that_is_not_explained_is_an_error(
    script: dict[str, Any], tmp_path: Path, text: str, problem: str
) -> None:
    (tmp_path / "heliograph-crds" / "values.yaml").write_text(text)
    with pytest.raises(ValueError, match=problem):
        script["values"]("heliograph-crds")


def test_types_defaults_and_examples_are_told(script: dict[str, Any], tmp_path: Path) -> None:
    schema = {
        "properties": {
            "a": {"type": "object", "properties": {"b": {"type": "integer", "minimum": 1, "maximum": 9}}},
            "c": {"type": "array", "items": {"$ref": "#/definitions/text"}},
            "d": {"enum": ["", "x|y"]},
        },
        "definitions": {"text": {"type": "string"}},
    }
    folder = tmp_path / "heliograph-crds"
    (folder / "values.schema.json").write_text(json.dumps(schema))
    (folder / "values.yaml").write_text("# A.\na:\n  # B.\n  b: 3\n# C, as\n# in:\n#   - x\nc: [x]\n# D.\nd: ''\n")
    found = {value.path: value for value in script["values"]("heliograph-crds")}
    assert (found["a"].kind, found["a.b"].kind, found["a.b"].default) == ("", "integer, 1 to 9", "3")
    assert (found["c"].kind, found["c"].meaning, found["c"].example) == ("list of string", "C, as in:", "  - x")
    assert (found["d"].kind, found["d"].default) == ("empty or `x|y`", "''")
    text = "\n".join(script["_chart"]("heliograph-crds"))
    assert "| `d` | empty or `x\\|y` | `''` | D. |" in text
    assert "```yaml\nc:\n  - x\n```" in text
