"""JSON bodies as shells and clients send them."""

import pytest

from heliograph_api.body import parse_json
from heliograph_api.errors import APIError


def test_line_breaks_inside_a_string_pass() -> None:
    assert parse_json(b'{"file": "QUJD\nREVG\t"}') == {"file": "QUJD\nREVG\t"}


def test_other_alphabets_pass_written_out_or_escaped() -> None:
    text = "日の出 \N{SUNRISE}"
    assert parse_json(f'["{text}"]'.encode()) == [text]
    assert parse_json(rb'["\u65e5\u306e\u51fa \ud83c\udf05"]') == [text]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"a": NaN}', b'{"a": -Infinity}', rb'"\ud800"', b'"\xff"', b"[" * 100_000, b"{'a': 1}"],
    ids=["empty", "cut", "NaN", "infinity", "surrogate", "latin-1", "deep", "python"],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(APIError) as caught:
        parse_json(body)
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


def test_the_place_of_the_fault_is_told() -> None:
    with pytest.raises(APIError, match="line 2, column 6"):
        parse_json(b'{\n"a": }')


def test_values_lie_64_deep_in_each_other_at_most() -> None:
    assert parse_json(b"[" * 64 + b"]" * 64)
    assert parse_json(b"[" + b"[]," * 1000 + b"[]]")
    for body in (b"[" * 65 + b"]" * 65, b'{"a":' * 65 + b"1" + b"}" * 65):
        with pytest.raises(APIError, match="more than 64 deep") as caught:
            parse_json(body)
        assert (caught.value.status, caught.value.code) == (400, "invalid_json")
