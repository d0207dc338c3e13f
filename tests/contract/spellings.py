"""The ways in which clients write one value: in JSON and in forms, as shells and browsers leave it."""

import json
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from contract.stack import Part
from heliograph_api.images.fields import Field
from heliograph_api.images.takes import PICTURE, PICTURES

_PICTURES = (PICTURE, PICTURES)
# The words of a choice, and the names of samplers and schedules, are read in any case; a text is a text.
_WORDS = {"size", "sampler", "schedule", "response_format", "output_format", "background", "stream_format", "quality"}


@dataclass(frozen=True)
class Spelling:
    """One way to write a value.

    Attributes:
        what: For the test's name.
        json: What a JSON body has for the field.
        form: The parts of a form, by what follows the field's name; None for a spelling of JSON.
    """

    what: str
    json: Any = None
    form: tuple[tuple[str, Part], ...] | None = None


def spellings(field: Field, value: Any) -> Iterator[Spelling]:
    """Yield each way to write a value of a field."""
    yield Spelling("json", value)
    if field.takes in _PICTURES:
        yield from _of_picture(value, several=field.takes is PICTURES)
    elif isinstance(value, Mapping):
        yield Spelling("brackets", form=tuple((f"[{key}]", (None, _text(part))) for key, part in value.items()))
        yield Spelling("flat", form=tuple((f"_{key}", (None, _text(part))) for key, part in value.items()))
    elif isinstance(value, list):
        yield Spelling("text in a form", form=(("", (None, _text(value))),))
        yield from _of_objects(value)
    else:
        yield from _of_scalar(value, word=field.name in _WORDS)


def nothing() -> Iterator[Spelling]:
    """Yield each way to write that a field says nothing."""
    yield Spelling("null", None)
    for text in ("null", ""):
        yield Spelling(f"{text!r} in a form", form=(("", (None, text)),))


def form_parts(fields: Mapping[str, Any]) -> list[tuple[str, Part]]:
    """Return fields as parts of a form; pictures are base64 there too."""
    return [(name, (None, _text(value))) for name, value in fields.items()]


def _of_scalar(value: Any, *, word: bool) -> Iterator[Spelling]:
    text = _text(value)
    if not isinstance(value, str):
        yield Spelling("text", text)
    yield Spelling("form", form=(("", (None, text)),))
    if word or not isinstance(value, str):
        yield Spelling("quotes in a form", form=(("", (None, f'"{text}"')),))
    if word:
        yield Spelling("capitals", text.upper())


def _of_objects(value: list[Any]) -> Iterator[Spelling]:
    """Yield how OpenAI's clients write a list of objects into a form, and what tells such of different keys apart."""
    for what, place in (("brackets", "[]"), ("numbers", "[{}]")):
        parts = [
            (f"{place.format(at)}[{key}]", (None, _text(part)))
            for at, entry in enumerate(value)
            for key, part in entry.items()
        ]
        yield Spelling(f"objects by {what}", form=tuple(parts))


def _of_picture(value: str, *, several: bool) -> Iterator[Spelling]:
    file = b64decode(value)
    url = f"data:image/png;base64,{value}"
    yield Spelling("data URL", url)
    yield Spelling("list", [value])
    yield Spelling("upload", form=(("", ("holiday.bin", file)),))
    yield Spelling("base64 in a form", form=(("", (None, value)),))
    if several:
        yield Spelling("uploads", form=(("[]", ("a.png", file)),))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
