"""multipart/form-data bodies, read into the same shape as JSON ones."""

import re
from mmap import mmap
from typing import Any

from python_multipart import MultipartParser
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import parse_options_header

from heliograph_api.errors import APIError
from heliograph_api.images.inputs import Upload

MAX_PARTS = 256
_MOST_NAME = 256
_STEP = 1024 * 1024
"""Bytes that are given to the parser at once: of a body in a file, no more than these are in memory twice."""
_BRACKETS = re.compile(r"^([^\[\]]+)(?:\[([^\[\]]*)\])?$")


def parse_form(body: bytes | mmap, content_type: str) -> dict[str, Any]:
    """Return the fields of a multipart/form-data body.

    A field that comes several times, or as `name[]`, is a list; `name[key]` is an object. A part with a file name, or
    with a content type that is no text, is an `Upload`.

    Args:
        body: The body.
        content_type: The request's Content-Type, which names the boundary.

    Raises:
        APIError: 400, the body is no such form.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise _malformed("its Content-Type names no boundary")
    parts = _Parts()
    try:
        parser = MultipartParser(boundary, parts.callbacks())
        for start in range(0, len(body), _STEP):
            parser.write(body[start : start + _STEP])
        parser.finalize()
    except (MultipartParseError, UnicodeError, ValueError):
        raise _malformed("it does not follow its boundary") from None
    if parts.open or not parts.ended:
        raise _malformed("it ends in the middle")
    content: dict[str, Any] = {}
    for name, value in parts.found:
        _add(content, name, value)
    return content


class _Parts:
    """Collects parts as the parser meets them."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str | Upload]] = []
        self.open = False
        self.ended = False
        self._headers: dict[bytes, bytes] = {}
        self._header = (bytearray(), bytearray())
        self._data = bytearray()

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_part_data": lambda data, start, end: self._data.extend(data[start:end]),
            "on_part_end": self._end,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        if len(self.found) >= MAX_PARTS:
            raise _malformed(f"it has more than {MAX_PARTS} parts")
        self.open = True
        self._headers = {}
        self._data = bytearray()

    def _end_header(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _end(self) -> None:
        self.open = False
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"").decode()
        if not name or len(name) > _MOST_NAME:
            raise _malformed("a part has no name")
        kind = self._headers.get(b"content-type", b"text/plain").lower()
        is_file = b"filename" in options or not kind.startswith((b"text/", b"application/json"))
        self.found.append((name, Upload(bytes(self._data)) if is_file else self._text(name)))
        self._data = bytearray()

    def _text(self, name: str) -> str:
        try:
            return self._data.decode()
        except UnicodeDecodeError:
            raise APIError(400, f"{name}: must be text in UTF-8.", param=name, code="invalid_type") from None

    def _finish(self) -> None:
        self.ended = True


def _add(content: dict[str, Any], name: str, value: str | Upload) -> None:
    match = _BRACKETS.match(name)
    base, key = (match[1], match[2]) if match else (name, None)
    known = content.get(base)
    if key:
        if not isinstance(known, dict):
            known = content[base] = {}
        known[key] = value
    elif isinstance(known, list):
        known.append(value)
    elif known is not None and not isinstance(known, dict):
        content[base] = [known, value]
    else:
        content[base] = [value] if key == "" else value


def _malformed(problem: str) -> APIError:
    return APIError(400, f"The request body is no valid multipart/form-data: {problem}.", code="invalid_form")
