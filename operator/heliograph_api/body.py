"""Request bodies, as shells, browsers and client libraries send them."""

import json
from mmap import mmap
from typing import Any, NoReturn

from heliograph_api.errors import APIError
from heliograph_api.forms import parse_form

_FORM = "multipart/form-data"
_MAX_DEPTH = 64


def check_content_type(content_type: str) -> None:
    """Raise `APIError` (415) for a Content-Type that no body can have here, before the body is read."""
    kind = _media_type(content_type)
    if kind != _FORM and not _is_json(kind):
        raise APIError(
            415,
            "Send JSON, with the header 'Content-Type: application/json', or a form, as multipart/form-data.",
            code="unsupported_media_type",
        )


def parse_body(body: bytes | mmap, content_type: str) -> Any:
    """Return what a body of JSON or of multipart/form-data says; raise `APIError` (400, 415) for any other."""
    check_content_type(content_type)
    return parse_form(body, content_type) if _media_type(content_type) == _FORM else parse_json(body)


def parse_json(body: bytes | mmap) -> Any:
    r"""Return what a JSON body says.

    Line breaks inside a string are let pass: shells put base64 with line breaks into a body. NaN and infinities, which
    JSON does not have, are refused, and so is half of a surrogate pair (`"\ud800"`): it cannot be passed on to anyone,
    not even in the text of an error. Lists and objects lie at most 64 deep in each other: what could only just be read
    might be too deep for whoever goes through it, or writes it, later.

    Raises:
        APIError: 400, the body is not JSON in UTF-8, or it is too deep.
    """
    try:
        text = str(body, "utf-8")
        content = json.loads(text, strict=False, parse_constant=_refuse_constant)
        if "\\u" in text:
            json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise APIError(
            400, f"The request body is not valid JSON in UTF-8{where}; send a JSON object.", code="invalid_json"
        ) from None
    # Most bodies have few brackets, however long they are.
    if text.count("[") + text.count("{") > _MAX_DEPTH and _is_deep(content):
        raise APIError(
            400,
            f"The request body has lists or objects more than {_MAX_DEPTH} deep in each other; send fewer levels.",
            code="invalid_json",
        )
    return content


def _is_deep(content: Any) -> bool:
    level = [content]
    for _ in range(_MAX_DEPTH):
        level = [
            part
            for whole in level
            if isinstance(whole, dict | list)
            for part in (whole.values() if isinstance(whole, dict) else whole)
        ]
    return any(isinstance(part, dict | list) for part in level)


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _is_json(media_type: str) -> bool:
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
