"""YAML that is written reads as what it was made of."""

from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from heliograph.yaml_text import to_yaml
from heliograph_api.documents import read_documents

TEXTS = st.text(st.characters(codec="utf-8")) | st.from_regex(
    r"[-+]?[0-9._]*([eE][-+]?[0-9]+)?|0[xob][0-9a-f]+|[yY](es)?|[oO](n|ff)|~|[0-9]+:[0-9]+|[0-9]{4}-[0-9]{2}-[0-9]{2}",
    fullmatch=True,
)
VALUES = st.recursive(
    TEXTS | st.integers(-(2**53), 2**53) | st.booleans() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
@example("\x85")
@example("one\ntwo\u2028three\n")
def test_what_is_written_is_read(value: Any) -> None:
    assert read_documents(to_yaml({"key": value})) == [{"key": value}]
    assert yaml.safe_load(to_yaml({"key": value})) == {"key": value}


@pytest.mark.parametrize(
    "text", ["1e-1", "0o17", "12345678901e3456", "-.5", "2024-01-01", "no", "12:30", "0_E0", "-0o17"]
)
def test_text_that_looks_otherwise_stands_in_quotes(text: str) -> None:
    assert to_yaml([text]).strip().removeprefix("- ") in {f'"{text}"', f"'{text}'"}


def test_long_texts_lists_and_repeated_values_are_written_out() -> None:
    shared = ["a"]

    assert to_yaml({"b": "one\ntwo\n", "a": shared, "c": shared}) == "b: |\n  one\n  two\na:\n  - a\nc:\n  - a\n"
