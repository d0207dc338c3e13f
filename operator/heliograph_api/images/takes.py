"""What values a field takes: how they are read, what a JSON schema says of them, and words for people."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from heliograph_api.images.inputs import MAX_INPUTS, as_image, as_images
from heliograph_api.images.loras import MAX_LORAS, as_loras
from heliograph_api.values import as_bool, as_float, as_int, as_text

_PICTURE = {"type": "string", "description": "base64, a data URL or an http(s) URL; in a form also an upload"}


@dataclass(frozen=True)
class Takes:
    """Values that a field takes.

    Attributes:
        words: For people.
        schema: JSON schema of a well-formed value; readers also take numbers as strings, null and the like.
        read: Reads one name out of a body; None where `request` reads it together with others.
    """

    words: str
    schema: Mapping[str, Any] = field(default_factory=dict)
    read: Callable[[Mapping[str, Any], str], Any] | None = None


def whole_number(least: int, most: int, words: str = "") -> Takes:
    """Return the whole numbers of a range."""
    return Takes(
        words or f"{least} to {most}",
        {"type": "integer", "minimum": least, "maximum": most},
        lambda content, name: as_int(content, name, least=least, most=most),
    )


def number(least: float, most: float) -> Takes:
    """Return the numbers of a range."""
    return Takes(
        f"{least:g} to {most:g}",
        {"type": "number", "minimum": least, "maximum": most},
        lambda content, name: as_float(content, name, least=least, most=most),
    )


def text(most: int) -> Takes:
    """Return texts of at most so many characters."""
    return Takes("text", {"type": "string", "maxLength": most}, lambda content, name: as_text(content, name, most=most))


def words(*values: str) -> Takes:
    """Return a choice of words, in any case, that `request` reads."""
    return Takes(" or ".join(f"`{value}`" for value in values), {"type": "string", "enum": list(values)})


TRUTH = Takes("true or false", {"type": "boolean"}, as_bool)
PICTURE = Takes("a picture", _PICTURE, as_image)
PICTURES = Takes(
    f"one picture, or a list of up to {MAX_INPUTS}",
    {"anyOf": [_PICTURE, {"type": "array", "items": _PICTURE, "maxItems": MAX_INPUTS}]},
    as_images,
)
LORAS = Takes(
    'a list of `{"id": name or place, "scale": number}`',
    {
        "type": "array",
        "maxItems": MAX_LORAS,
        "items": {"type": "object", "properties": {"id": {"type": "string"}, "scale": {"type": "number"}}},
    },
    as_loras,
)
