"""YAML as kubectl and LocalAI read it; golden/good/yaml-scalars.yaml shows that the API server reads the same."""

import json
from typing import Any

import pytest

from heliograph_api.documents import read_documents
from heliograph_api.errors import SpecError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"),
        ("12:30", "12:30"),
        ("1e-1", 0.1),
        ("12e03", 12000.0),
        (".5", 0.5),
        ("2.", 2.0),
        ("1_000", 1000),
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 15),
        ("yes", True),
        ("Off", False),
        ("'yes'", "yes"),
        ("1.2.3", "1.2.3"),
        ("afc8e282", "afc8e282"),
        ("=", "="),
    ],
)
def test_a_scalar_is_what_json_would_make_of_it(text: str, value: Any) -> None:
    (document,) = read_documents(f"key: {text}")
    assert document == {"key": value}
    assert type(document["key"]) is type(value)


@pytest.mark.parametrize("text", ["~", "null", "Null", "", "# nothing"])
def test_null_counts_as_absent(text: str) -> None:
    assert read_documents(f"key: {text}\nother: {{deep: [{{a: 1, b: {text.partition('#')[0]}}}]}}") == [
        {"other": {"deep": [{"a": 1}]}}
    ]


def test_keys_are_strings() -> None:
    assert read_documents("1: a\ntrue: b\n1.5: c\n~: d") == [{"1": "a", "true": "b", "1.5": "c", "null": "d"}]


@pytest.mark.parametrize("text", ["", "---", "# nothing", "null", "---\n---\n"])
def test_an_empty_document_is_none(text: str) -> None:
    assert read_documents(text) == []


def test_a_text_may_hold_several_documents() -> None:
    assert read_documents("a: 1\n---\n- b: 2\n---\n") == [{"a": 1}, [{"b": 2}]]


def test_anchors_and_merge_keys_are_resolved() -> None:
    assert read_documents("a: &x {b: 1, c: 2}\nd: {<<: *x, b: 3}")[0]["d"] == {"b": 3, "c": 2}


def test_a_merged_key_may_be_overridden_at_each_step() -> None:
    text = "z: {<<: &y {<<: &x {a: 1, b: 1}, b: 2}, c: {<<: *y, b: 3}}\nw: {<<: [*y, *x], a: 4}"
    assert read_documents(text) == [{"z": {"a": 1, "b": 2, "c": {"a": 1, "b": 3}}, "w": {"a": 4, "b": 2}}]


def test_json_is_read_as_json() -> None:
    document = {"description": "sun \N{SUN WITH FACE}", "k" * 2000: 1, "null": None}
    assert read_documents(json.dumps(document)) == [{"description": "sun \N{SUN WITH FACE}", "k" * 2000: 1}]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3", "is not valid YAML in line 3, column 1: the key a occurs twice; keep one of them"),
        ("x:\n  a: 1\n  a: 1", "is not valid YAML in line 3, column 3: the key a occurs twice"),
        ('{"a": 1, "a": 2}', "the key a occurs twice"),
        ("a: [1", "is not valid YAML in line 1, column 6: "),
        ("a: b: c", "is not valid YAML in line 1, column 5: mapping values are not allowed here"),
        ("\ta: 1", "is not valid YAML in line 1, column 1: "),
        ("a: \x00", "is not valid YAML: "),
        ("a: !!python/object/apply:os.system [ls]", "is not valid YAML in line 1, column 4: could not determine"),
        ("a: *b", "is not valid YAML in line 1, column 4: found undefined alias"),
        ("a: &x [*x]", "an anchor refers to itself"),
        ("[" * 3000, "is nested too deeply"),
        ("a: " + "[" * 3000, "is nested too deeply"),
        ("a: " + "9" * 5000, "has a number of too many digits"),
        ('{"a": ' + "9" * 5000 + "}", "has a number of too many digits"),
        ("? [1]\n: 2", "is not valid YAML in line 1, column 3: a key must be text"),
        ("a: !!set [a]", "is not valid YAML: a value does not fit its tag"),
        ("a: !!bool maybe", "is not valid YAML: a value does not fit its tag"),
        ('a: !!int ""', "is not valid YAML: a value does not fit its tag"),
        ("a: !!timestamp soon", "is not valid YAML: a value does not fit its tag"),
        ("a: !!float 1" + ":1" * 200, "is not valid YAML: a value does not fit its tag"),
    ],
)
def test_what_is_no_yaml_is_refused(text: str, problem: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_documents(text)
    assert caught.value.path == "manifest"
    assert problem in caught.value.problem
    assert "\n" not in caught.value.problem
