"""Values that no field takes, for every name of every field of the contract."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

from heliograph_api.images.fields import FIELDS, REFUSED, Field
from heliograph_api.images.takes import LORAS, PICTURE, PICTURES
from hostile.exchanges import GENERATIONS, Case, every_path, json_case

_OBJECT = {"a": {"b": [1]}}
_NESTED = [[["a"]]]
_NUMBERS = {
    "integer of 400 digits": "1" + "0" * 399,
    "number of a huge exponent": "1e400",
    "large number": "1e18",
    "fraction of many digits": "0." + "3" * 4000 + "e9",
    "NaN in text": '"NaN"',
    "infinity in text": '"-inf"',
    "hexadecimal text": '"0x10"',
    "number with a path": '"1/../2"',
    "5000 digits in text": '"' + "9" * 5000 + '"',
    "number with a NUL": '"1\\u0000"',
    "two signs": '"+-1"',
    "superscript": '"\\u00b2"',
    "list": "[1]",
    "true": "true",
}
_TEXTS = {"number": "1", "true": "true", "list": '["a"]', "long text": json.dumps("a" * 513)}
_WORDS = {"word that is none": '"; DROP TABLE jobs"', "terminal escape": '"\\u001b[2J"', "NUL": '"\\u0000"', **_TEXTS}
_PICTURES = {
    "number": "1",
    "true": "true",
    "text that is no base64": '"../../etc/passwd"',
    "letters of base64": '"aGFsbG8="',
    "empty object": '{"image_url": ""}',
    "file id": '{"file_id": "file-../../x"}',
    "NUL": '"\\u0000"',
    "17 pictures": json.dumps(["iVBORw0KGgo="] * 17),
    "list of nulls": "[null]",
    "object in an object": '{"image_url": {"url": {"url": "a"}}}',
}
_SIZES = {
    "no size": '"wide"',
    "size without a side": '"x64"',
    "negative size": '"-64x64"',
    "size of letters": '"axb"',
    "size of a million digits": '"' + "9" * 100_000 + 'x1"',
    "size of nothing": '"0x0"',
    "three sides": '"64x64x64"',
    "size too large": '"4096x4096"',
    "huge size": '"999999x999999"',
    "true": "true",
    "fraction": '"64.5x64"',
    "size as a number of 400 digits": "1" + "0" * 399,
    "size with a NUL": '"64\\u0000x64"',
    "size of 15": '"15x64"',
}


def _wrong(field: Field) -> Iterator[tuple[str, str]]:
    """Yield values that a field can't take, as JSON."""
    kind = field.takes.schema.get("type")
    if field.name not in {"stream_options", *(["loras"] if field.takes is LORAS else [])}:
        yield "object", json.dumps(_OBJECT)
    yield "nested list", json.dumps(_NESTED)
    if field.takes in (PICTURE, PICTURES):
        yield from _PICTURES.items()
    elif field.name == "size":
        yield from _SIZES.items()
    elif kind in {"integer", "number"}:
        # A seed may be as large as that.
        yield from ((what, value) for what, value in _NUMBERS.items() if (field.name, what) != ("seed", "large number"))
    elif "enum" in field.takes.schema or field.name in {"sampler", "schedule"}:
        yield from _WORDS.items()
    elif kind == "boolean":
        yield from (("number", "2"), ("text", '"yes"'), ("list", "[true]"))
    elif kind == "string" and field.name != "negative_prompt":
        yield from _TEXTS.items()


def _body(name: str, value: str) -> bytes:
    others = {} if name == "prompt" else {"prompt": "a", "image": None}
    return (json.dumps(others)[:-1] + (", " if others else "") + f"{json.dumps(name)}: {value}}}").encode()


def _alternatives(name: str) -> Any:
    # Of conflicting spellings the first is named, and `scheduler` may be read as either of two settings.
    return ... if name == "scheduler" else name


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for field in FIELDS:
        for name, (what, value) in itertools.product(field.names, _wrong(field)):
            yield json_case(f"{name}: {what}", _body(name, value), param=_alternatives(name))
    for name in REFUSED:
        for refused in (True, "a", {"a": 1}, 1):
            yield json_case(f"{name} of {refused}", {"prompt": "a", name: refused}, param=name)
    for field in FIELDS:
        for first, second in itertools.pairwise(field.names):
            schema = field.takes.schema
            if schema.get("type") in {"integer", "number"}:
                body = {"prompt": "a", first: schema["minimum"], second: schema["maximum"]}
                yield json_case(f"{first} against {second}", body, param=first)
    for path in every_path():
        if path != GENERATIONS:
            body = {"prompt": "a", "init_images": ["x"], "steps": {"a": 1}}
            yield json_case(f"type confusion at {path}", body, target=path)
    for name, many in (("n", {"n": 3}), ("prompt", {"prompt": ["a"] * 3})):
        yield json_case(f"too many pictures by {name}", {"prompt": "a"} | many, param=name)
