"""pydantic's complaints about an ImageModel in the words of its user: the field, the value's problem, the remedy."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from heliograph_api.errors import SpecError

_LONGEST_SHOWN = 64
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def first_error(error: ValidationError, *, root: str = "spec") -> SpecError:
    """Return pydantic's first complaint as a `SpecError` whose path starts at `root`."""
    return spec_errors(error, root=root)[0]


def spec_errors(error: ValidationError, *, root: str = "spec") -> list[SpecError]:
    """Return pydantic's complaints as `SpecError`s, each path written as a user does: `spec.options[2]`."""
    found = []
    for item in error.errors(include_url=False):
        path = field_path(item["loc"], root=root)
        blamed = item.get("ctx", {}).get("field")
        found.append(SpecError(f"{path}.{blamed}" if blamed else path, _problem(item)))
    return found


def field_path(parts: Iterable[str | int], *, root: str = "spec") -> str:
    """Return the path of a field as a user writes it, from the keys and indices that lead to it.

    A key with dots or slashes stands in brackets, as in the API server's messages: `limits[nvidia.com/gpu]`.
    """
    return root + "".join(f".{part}" if _PLAIN_KEY.fullmatch(str(part)) else f"[{part}]" for part in parts)


def did_you_mean(value: str, known: Iterable[str]) -> str | None:
    """Return the nearest of `known` spellings, or None when none is near."""
    by_plain = {_plain(name): name for name in known}
    near = difflib.get_close_matches(_plain(value), by_plain, n=1, cutoff=0.75)
    return by_plain[near[0]] if near else None


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _problem(item: ErrorDetails) -> str:
    say = _PROBLEMS.get(item["type"])
    return say(item.get("ctx", {}), item["input"]) if say else item["msg"]


def _not_a_number(kind: str, given: Any) -> str:
    remedy = ""
    if isinstance(given, str):
        try:
            float(given)
            remedy = "; leave the quotes out"
        except ValueError:
            pass
    return f"must be {kind}, not {_shown(given)}{remedy}"


def _not_a_string(given: Any) -> str:
    remedy = "; put it in quotes" if isinstance(given, bool | int | float) else ""
    return f"must be a string, not {_shown(given)}{remedy}"


def _not_a_list(given: Any) -> str:
    remedy = "; write each entry on a line of its own after a dash" if isinstance(given, str) else ""
    return f"must be a list, not {_kind(given)}{remedy}"


def _not_an_object(given: Any) -> str:
    # The value is not shown: a token that was written in place of a reference to its Secret would end up in a log.
    return f"must be an object of keys and values, not {_kind(given)}"


def _not_allowed(context: Mapping[str, Any], given: Any) -> str:
    allowed = [part.strip().strip("'") for part in context["expected"].replace(" or ", ", ").split(", ")]
    nearest = did_you_mean(given, filter(None, allowed)) if isinstance(given, str) else None
    hint = f"; did you mean {nearest}?" if nearest else ""
    return f"must be {_either(list(filter(None, allowed)))}, not {_shown(given)}{hint}"


def _either(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"one of {', '.join(names)}"


def _of_length(context: Mapping[str, Any], given: Any) -> str:
    unit = "entry" if context.get("max_length", context.get("min_length")) == 1 else "entries"
    if "max_length" in context:
        return f"must have at most {context['max_length']} {unit}, not {len(given)}"
    return f"must have at least {context['min_length']} {unit}"


_PROBLEMS: dict[str, Callable[[Mapping[str, Any], Any], str]] = {
    "missing": lambda _, __: "is required",
    "extra_forbidden": lambda _, __: "is not a known key; remove it",
    "int_type": lambda _, given: _not_a_number("a whole number", given),
    "int_from_float": lambda _, given: _not_a_number("a whole number", given),
    "float_type": lambda _, given: _not_a_number("a number", given),
    "finite_number": lambda _, given: _not_a_number("a finite number", given),
    "string_type": lambda _, given: _not_a_string(given),
    "string_unicode": lambda _, __: "must be Unicode text; write the character itself in place of its escapes",
    "bool_type": lambda _, given: f"must be true or false, not {_shown(given)}",
    "list_type": lambda _, given: _not_a_list(given),
    "dict_type": lambda _, given: _not_an_object(given),
    "model_type": lambda _, given: _not_an_object(given),
    "literal_error": _not_allowed,
    "greater_than_equal": lambda context, given: f"must be at least {_number(context['ge'])}, not {_number(given)}",
    "less_than_equal": lambda context, given: f"must be at most {_number(context['le'])}, not {_number(given)}",
    "string_too_long": lambda context, given: f"must have at most {context['max_length']} characters, not {len(given)}",
    "string_too_short": lambda _, __: "must not be empty",
    "too_long": _of_length,
    "too_short": _of_length,
}
"""What to say about each type of pydantic's errors, from its context and the value that was given."""


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f"the string '{value}'" if len(value) <= _LONGEST_SHOWN and value.isprintable() else "a string"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"the number {_number(value)}" if isinstance(value, int | float) else _kind(value)


def _number(value: Any) -> str:
    # An integer of thousands of digits cannot be turned into text at all.
    if isinstance(value, float):
        return f"{value:.12g}"
    return str(value) if abs(value) < 10**20 else "so large a number"


def _kind(value: Any) -> str:
    kinds: dict[type, str] = {
        str: "a string", bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object",
        type(None): "null",
    }  # fmt: skip
    return kinds.get(type(value), f"a {type(value).__name__}")
