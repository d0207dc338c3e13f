"""Rules: one condition, in Python and in CEL."""

from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError

from heliograph_api.rules import OpenModel, Rule, SpecModel, keys_matching, matching


@pytest.mark.parametrize("value", ["abc", "a", "abc1"])
def test_matching_takes_the_whole_string(value: str) -> None:
    rule = matching("[a-z]+1?", "must be letters")
    assert TypeAdapter(Annotated[str, rule]).validate_python(value) == value


@pytest.mark.parametrize("value", ["", "1", "abc ", "abc\n", "\nabc", "ABC"])
def test_matching_refuses_a_string_that_matches_in_part(value: str) -> None:
    rule = matching("[a-z]+1?", "must be letters")
    with pytest.raises(ValidationError, match="must be letters"):
        TypeAdapter(Annotated[str, rule]).validate_python(value)


def test_matching_takes_whole_alternatives() -> None:
    rule = matching("ab|cd", "must be ab or cd")
    assert rule.cel == "self.matches(r'^(ab|cd)$')"
    assert [value for value in ("ab", "cd", "abx", "xcd") if rule.check(value)] == ["ab", "cd"]


def test_keys_matching_looks_at_every_key() -> None:
    rule = keys_matching("[a-z]+", "keys must be letters")
    assert rule.check({})
    assert rule.check({"a": "1", "b": "2"})
    assert not rule.check({"a": "1", "B": "2"})


def test_a_rule_on_a_model_blames_its_field() -> None:
    class Range(SpecModel):
        RULES = (Rule(cel="self.a <= self.b", message="a above b", check=lambda self: self.a <= self.b, field="a"),)

        a: int
        b: int

    assert Range(a=1, b=2).a == 1
    with pytest.raises(ValidationError) as caught:
        Range(a=2, b=1)
    assert caught.value.errors()[0]["ctx"] == {"message": "a above b", "field": "a"}


def test_an_open_model_names_what_it_does_not_know() -> None:
    class Open(OpenModel):
        a: int | None = None

    assert Open.model_validate({"a": 1, "z": 2, "b": 3}).unknown_keys == ["b", "z"]


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_number_is_finite(value: float) -> None:
    class Number(SpecModel):
        a: float

    with pytest.raises(ValidationError):
        Number(a=value)
