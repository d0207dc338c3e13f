"""Single request values, as forms, shells and client libraries send them."""

from typing import Any

import pytest

from heliograph_api.errors import APIError
from heliograph_api.values import as_bool, as_float, as_int, as_size, as_text, given, is_unicode

ABSENT = [None, "", "  ", "null", " null "]


@pytest.mark.parametrize("value", [*ABSENT, [], {}], ids=repr)
def test_what_counts_as_absent(value: Any) -> None:
    assert not given({"field": value}, "field")
    assert not given({}, "field")


@pytest.mark.parametrize("value", [0, False, "0", "x", [0], {"a": 1}], ids=repr)
def test_what_counts_as_given(value: Any) -> None:
    assert given({"field": value}, "field")


@pytest.mark.parametrize("value", ABSENT, ids=repr)
def test_an_absent_value_is_none(value: Any) -> None:
    body = {"field": value}
    assert as_text(body, "field", most=9) is None
    assert as_int(body, "field", least=0, most=9) is None
    assert as_float(body, "field", least=0, most=9) is None
    assert as_size(body, "field", least=1, most=100) is None
    assert as_bool(body, "field") is False


@pytest.mark.parametrize(
    ("value", "number"),
    [(7, 7), (7.0, 7), ("7", 7), ('"7"', 7), ("'7'", 7), (" 7 ", 7), ("+7", 7), ("7.0", 7), ("-3", -3), ("1e1", 10)],
    ids=repr,
)
def test_a_whole_number(value: Any, number: int) -> None:
    found = as_int({"field": value}, "field", least=-10, most=10)
    assert found == number
    assert type(found) is int


@pytest.mark.parametrize(("value", "number"), [(7, 7.0), ("7.5", 7.5), ('"7.5"', 7.5), (".5", 0.5), (0, 0.0)])
def test_a_number(value: Any, number: float) -> None:
    found = as_float({"field": value}, "field", least=0, most=10)
    assert found == number
    assert type(found) is float


@pytest.mark.parametrize(
    ("value", "message", "code"),
    [
        (11, "field: must be from -10 to 10, not 11.", "invalid_value"),
        ("-11", "field: must be from -10 to 10, not -11.", "invalid_value"),
        (7.5, "field: must be a whole number, not 7.5.", "invalid_type"),
        ("seven", "field: must be a number, not a string.", "invalid_type"),
        ("--7", "field: must be a number, not a string.", "invalid_type"),
        (True, "field: must be a number, not a boolean.", "invalid_type"),
        ([7], "field: must be a number, not a list.", "invalid_type"),
        ({"a": 7}, "field: must be a number, not an object.", "invalid_type"),
        (float("inf"), "field: must be a finite number.", "invalid_type"),
        ("nan", "field: must be a finite number.", "invalid_type"),
        ("1e999", "field: must be a finite number.", "invalid_type"),
        (10**400, "field: must be from -10 to 10, not so large a number.", "invalid_value"),
        pytest.param(
            10**5000, "field: must be from -10 to 10, not so large a number.", "invalid_value", id="thousands of digits"
        ),
        pytest.param("9" * 5000, "field: must be a number, not a string.", "invalid_type", id="digits in quotes"),
    ],
)
def test_no_whole_number(value: Any, message: str, code: str) -> None:
    with pytest.raises(APIError) as caught:
        as_int({"field": value}, "field", least=-10, most=10)
    error = caught.value
    assert (error.status, error.message, error.code, error.param) == (400, message, code, "field")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (10.5, "field: must be from 0 to 10, not 10.5."),
        (10**400, "field: must be from 0 to 10, not so large a number."),
        (float("nan"), "field: must be a finite number."),
        ("high", "field: must be a number, not a string."),
    ],
)
def test_no_number(value: Any, message: str) -> None:
    with pytest.raises(APIError) as caught:
        as_float({"field": value}, "field", least=0, most=10)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("value", "truth"),
    [(True, True), (False, False), ("true", True), ("TRUE", True), ("1", True), ('"true"', True), ("false", False)],
    ids=repr,
)
def test_a_truth_value(value: Any, truth: bool) -> None:
    assert as_bool({"field": value}, "field") is truth


@pytest.mark.parametrize("value", ["yes", 1, [], {}])
def test_no_truth_value(value: Any) -> None:
    with pytest.raises(APIError, match="must be true or false"):
        as_bool({"field": value}, "field")


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("512x768", (512, 768)),
        ("512X768", (512, 768)),
        ("512*768", (512, 768)),
        ("512 x 768", (512, 768)),
        ('"512x768"', (512, 768)),
        ("512", (512, 512)),
        (512, (512, 512)),
        ("auto", None),
        ("AUTO", None),
    ],
    ids=repr,
)
def test_a_size(value: Any, size: tuple[int, int] | None) -> None:
    assert as_size({"size": value}, "size", least=16, most=1000) == size


@pytest.mark.parametrize(
    "value",
    ["big", "512x", "x512", "512x512x3", "-512x512", "512.5x512", "9999999x1", 512.5, True, [512, 512], {"w": 1}],
)
def test_no_size(value: Any) -> None:
    with pytest.raises(APIError, match="size: must be WIDTHxHEIGHT in pixels, such as 512x512, or auto"):
        as_size({"size": value}, "size", least=16, most=1000)


@pytest.mark.parametrize("value", ["8x512", "512x0", "0", 8])
def test_too_small_a_size(value: Any) -> None:
    with pytest.raises(APIError, match="too small; each side must be at least 16"):
        as_size({"size": value}, "size", least=16, most=1000)


@pytest.mark.parametrize("value", ["1001x16", "16x1001", 1001])
def test_too_large_a_size(value: Any) -> None:
    with pytest.raises(APIError, match="too large; each side must be at most 1000"):
        as_size({"size": value}, "size", least=16, most=1000)


def test_a_text() -> None:
    assert as_text({"field": " a\n"}, "field", most=3) == " a\n"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, "field: must be a string, not that."),
        (["a"], "field: must be a string, not a list."),
        ("aaaa", "field: must have at most 3 characters."),
        ("\ud83d", "field: must be Unicode text"),
    ],
)
def test_no_text(value: Any, message: str) -> None:
    with pytest.raises(APIError) as caught:
        as_text({"field": value}, "field", most=3)
    assert caught.value.message.startswith(message)


def test_unicode_is_what_can_be_encoded() -> None:
    assert is_unicode("sun \N{SUN WITH FACE}")
    assert not is_unicode("\ud83d")
