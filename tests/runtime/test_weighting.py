from itertools import groupby
from typing import Any

import pytest

from heliograph_runtime.engines.diffusers.weighting import (
    WeightedText,
    join_sections,
    literal_prompt,
    parse_prompt,
)


def parts(section: WeightedText) -> list[tuple[str, Any]]:
    """The text in runs of one weight, each with its weight."""
    runs = groupby(zip(section.text, section.weights, strict=True), key=lambda pair: pair[1])
    return [("".join(character for character, _ in run), pytest.approx(weight)) for weight, run in runs]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a red cat", [("a red cat", 1)]),
        ("a (red) cat", [("a ", 1), ("red", 1.1), (" cat", 1)]),
        ("a ((red)) cat", [("a ", 1), ("red", 1.21), (" cat", 1)]),
        ("a (red:1.5) cat", [("a ", 1), ("red", 1.5), (" cat", 1)]),
        ("a [red] cat", [("a ", 1), ("red", 1 / 1.1), (" cat", 1)]),
        ("([red])", [("red", 1)]),
        ("(red:0)", [("red", 0)]),
        ("(red:-.5)", [("red", -0.5)]),
        ("(red: +2. )", [("red", 2)]),
        ("(a (red:1.5) cat:2)", [("a ", 2), ("red", 3), (" cat", 2)]),
        ("(a (red) cat)", [("a ", 1.1), ("red", 1.21), (" cat", 1.1)]),
        ("(a:1.5)(b:1.5)", [("ab", 1.5)]),
        ("(ratio 3:4)", [("ratio 3", 4)]),
        ("(time: noon)", [("time: noon", 1.1)]),
        ("(x:1e1)", [("x:1e1", 1.1)]),
        ("(x:1.2.3)", [("x:1.2.3", 1.1)]),
        ("[red:1.5]", [("red:1.5", 1 / 1.1)]),
        ("(red:99)", [("red", 10)]),
        ("(((red:9):9):-9)", [("red", -10)]),
        ("", []),
        ("()", []),
    ],
)
def test_weights_are_read(prompt: str, expected: list[tuple[str, float]]) -> None:
    (section,) = parse_prompt(prompt)

    assert parts(section) == expected
    assert section.is_weighted == any(weight != 1 for _, weight in expected)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (r"a \(red\) cat", [("a (red) cat", 1)]),
        (r"\[a\] (\(b\):2)", [("[a] ", 1), ("(b)", 2)]),
        (r"(a\\)", [("a\\", 1.1)]),
        (r"C:\dir", [(r"C:\dir", 1)]),
        (r"(a\:2)", [("a\\", 2)]),
    ],
)
def test_escapes_stand_for_the_character(prompt: str, expected: list[tuple[str, float]]) -> None:
    assert parts(parse_prompt(prompt)[0]) == expected


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("sad :(", [("sad :(", 1)]),
        ("glad :)", [("glad :)", 1)]),
        ("a:1.5) cat", [("a:1.5) cat", 1)]),
        ("]a[", [("]a[", 1)]),
        ("(a (b) c", [("(a ", 1), ("b", 1.1), (" c", 1)]),
        ("a) (b)", [("a) ", 1), ("b", 1.1)]),
        ("(a [b) c]", [("a [b", 1.1), (" c]", 1)]),
        ("[a (b] c:2)", [("a (b", 1 / 1.1), (" c:2)", 1)]),
    ],
)
def test_a_bracket_without_a_partner_stands_for_itself(prompt: str, expected: list[tuple[str, float]]) -> None:
    assert parts(parse_prompt(prompt)[0]) == expected


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a cat BREAK a dog", [[("a cat ", 1)], [(" a dog", 1)]]),
        ("(a BREAK b:2) c", [[("a ", 2)], [(" b", 2), (" c", 1)]]),
        ("BREAK a BREAK  BREAK b BREAK", [[(" a ", 1)], [(" b ", 1)]]),
        ("BREAK BREAK", [[]]),
        ("DAYBREAK break BREAKS", [[("DAYBREAK break BREAKS", 1)]]),
    ],
)
def test_sections_are_told_apart(prompt: str, expected: list[list[tuple[str, float]]]) -> None:
    assert [parts(section) for section in parse_prompt(prompt)][: len(expected)] == expected
    assert len(parse_prompt(prompt)) == len(expected)


def test_a_literal_prompt_has_no_syntax() -> None:
    (section,) = literal_prompt(r"a (red:1.5) \(cat\) BREAK [x]")

    assert section.text == r"a (red:1.5) \(cat\) BREAK [x]"
    assert not section.is_weighted


def test_sections_can_be_read_as_one_text() -> None:
    assert parts(join_sections(parse_prompt("(a:2) cat BREAK a (dog:3)"))) == [
        ("a", 2),
        (" cat   a ", 1),
        ("dog", 3),
    ]


def test_brackets_can_be_nested_to_any_depth() -> None:
    (section,) = parse_prompt("(" * 16_000 + "x" + ")" * 15_999)

    assert section.text == "(x"
    assert section.weights == (1.0, 10.0)
