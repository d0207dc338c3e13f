"""Lenient reading of single request values, as forms, shells and client libraries send them.

None, an empty string and the string "null" count as absent; a number may come as a string, with quotes that a shell
left around it (`cfg_scale="7.0"` in a curl form).
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from heliograph_api.errors import invalid_request

_SIZE = re.compile(r"^(\d{1,6})\s*[xX*]\s*(\d{1,6})$")


def given(body: Mapping[str, Any], name: str) -> bool:
    """Return whether a field is present with a value."""
    # Most fields of a request are absent, and each is asked for.
    return name in body and _clean(body[name]) not in (None, [], {})


def as_text(body: Mapping[str, Any], name: str, *, most: int) -> str | None:
    """Return a string of at most `most` characters, or None when it is absent."""
    value = _clean(body.get(name))
    if value is None:
        return None
    if not isinstance(value, str):
        raise invalid_request(name, f"must be a string, not {_kind(value)}.", code="invalid_type")
    if len(value) > most:
        raise invalid_request(name, f"must have at most {most} characters.")
    if not is_unicode(value):
        raise invalid_request(name, "must be Unicode text; it has half of a surrogate pair.")
    return value


def as_word(body: Mapping[str, Any], name: str) -> str | None:
    """Return a word of a choice in lower case and without quotes that a shell left around it, or None."""
    value = as_text(body, name, most=64)
    return None if value is None else unquoted(value).lower() or None


def is_unicode(text: str) -> bool:
    """Return whether a text can be encoded; one from JSON escapes may hold half of a surrogate pair, which cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_int(body: Mapping[str, Any], name: str, *, least: int, most: int) -> int | None:
    """Return a whole number from `least` to `most`, or None when it is absent."""
    value = _number(body, name)
    if value is None:
        return None
    if value != int(value):
        raise invalid_request(name, f"must be a whole number, not {value:g}.", code="invalid_type")
    if not least <= value <= most:
        raise invalid_request(name, f"must be from {least} to {most}, not {_shown(value)}.")
    return int(value)


def as_float(body: Mapping[str, Any], name: str, *, least: float, most: float) -> float | None:
    """Return a number from `least` to `most`, or None when it is absent."""
    value = _number(body, name)
    if value is not None and not least <= value <= most:
        raise invalid_request(name, f"must be from {least:g} to {most:g}, not {_shown(value)}.")
    return None if value is None else float(value)


def as_bool(body: Mapping[str, Any], name: str) -> bool:
    """Return a truth value; an absent one is false."""
    value = _clean(body.get(name))
    if isinstance(value, str):
        value = {"true": True, "1": True, "false": False, "0": False}.get(unquoted(value).lower(), value)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise invalid_request(name, "must be true or false.", code="invalid_type")


def as_size(body: Mapping[str, Any], name: str, *, least: int, most: int) -> tuple[int, int] | None:
    """Return width and height in pixels of `WxH` or of one number for a square; None for `auto` and when absent."""
    value = _clean(body.get(name))
    text = unquoted(str(value)).strip() if isinstance(value, str | int) and not isinstance(value, bool) else None
    if value is None or (text and text.lower() == "auto"):
        return None
    text = f"{text}x{text}" if text and text.isdecimal() else text
    match = _SIZE.match(text or "")
    if not match:
        raise invalid_request(name, "must be WIDTHxHEIGHT in pixels, such as 512x512, or auto.")
    width, height = int(match[1]), int(match[2])
    if min(width, height) < least:
        raise invalid_request(name, f"{width}x{height} is too small; each side must be at least {least}.")
    if max(width, height) > most:
        raise invalid_request(name, f"{width}x{height} is too large; each side must be at most {most}.")
    return width, height


def _number(body: Mapping[str, Any], name: str) -> int | float | None:
    value = _clean(body.get(name))
    if isinstance(value, str):
        text = unquoted(value)
        try:
            value = int(text) if text.lstrip("+-").isdecimal() else float(text)
        except ValueError:
            value = None if not text else value
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid_request(name, f"must be a number, not {_kind(value)}.", code="invalid_type")
    if isinstance(value, float) and not math.isfinite(value):
        raise invalid_request(name, "must be a finite number.", code="invalid_type")
    return value


def _clean(value: Any) -> Any:
    return None if isinstance(value, str) and value.strip() in {"", "null"} else value


def unquoted(text: str) -> str:
    """Return a text without spaces and quotes around it."""
    return text.strip().strip("\"'").strip()


def _shown(value: float) -> str:
    # A JSON integer may be larger than any float, and longer than an error should be.
    if abs(value) >= 10**21:
        return "so large a number"
    return str(value) if isinstance(value, int) else f"{value:.12g}"


def _kind(value: Any) -> str:
    names = {str: "a string", bool: "a boolean", list: "a list", dict: "an object"}
    return names.get(type(value), "that")
