"""multipart/form-data bodies, read into the same shape as JSON ones."""

import re
from mmap import mmap
from typing import Any, cast

from python_multipart import MultipartParser
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import parse_options_header

from heliograph_api.errors import APIError, invalid_request
from heliograph_api.images.inputs import Upload

MAX_PARTS = 256
_MOST_NAME = 256
_STEP = 1024 * 1024
"""Bytes that are given to the parser at once: of a body in a file, no more than these are in memory twice."""
_BRACKETS = re.compile(r"^([^\[\]]+)(?:\[([0-9]*)\](?:\[([^\[\]]+)\])?|\[([^\[\]]+)\])?$")
"""A field, then the place in a list and a key of the object there, or a key of an object."""


def parse_form(body: bytes | mmap, content_type: str) -> dict[str, Any]:
    """Return the fields of a multipart/form-data body.

    A field that comes several times, or as `name[]` or `name[0]`, is a list; `name[key]` is an object; `name[][key]`
    and `name[0][key]` are a list of objects. A part with a file name, or with a content type that is no text, is an
    `Upload`; a browser's part for no chosen file is none.

    Args:
        body: The body.
        content_type: The request's Content-Type, which names the boundary.

    Raises:
        APIError: 400, the body is no such form, or does not tell the objects of a list apart.
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
    fields = _Fields()
    for name, value in parts.found:
        fields.add(name, value)
    fields.check()
    return fields.content


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
        if options.get(b"filename") == b"" and not self._data:
            return
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


class _Fields:
    """Puts parts together by the brackets in their names."""

    def __init__(self) -> None:
        self.content: dict[str, Any] = {}
        self._numbered: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._in_turn: dict[str, list[dict[str, Any]]] = {}

    def add(self, name: str, value: str | Upload) -> None:
        match = _BRACKETS.match(name)
        base, place, key_there, key = match.groups() if match else (name, None, None, None)
        if key:
            self._object(base)[key] = value
        elif key_there:
            self._row(base, place, key_there)[key_there] = value
        elif place is not None or not isinstance(self.content.get(base), dict | None):
            self._list(base).append(value)
        else:
            self.content[base] = value

    def check(self) -> None:
        """Raise `APIError` (400) if it is not clear which values make up one object."""
        for base, rows in self._in_turn.items():
            if any(row.keys() != rows[0].keys() for row in rows):
                raise invalid_request(
                    base,
                    f"its objects have different keys, and {base}[][...] does not tell them apart; number them, as "
                    f"{base}[0][...], or send the list as JSON.",
                )

    def _object(self, base: str) -> dict[str, Any]:
        if not isinstance(self.content.get(base), dict):
            self.content[base] = {}
        return cast("dict[str, Any]", self.content[base])

    def _list(self, base: str) -> list[Any]:
        known = self.content.get(base)
        if not isinstance(known, list):
            self.content[base] = known = [] if known is None or isinstance(known, dict) else [known]
        return known

    def _row(self, base: str, place: str | None, key: str) -> dict[str, Any]:
        """Return the object of a list that a value of `key` belongs to."""
        if place:
            rows = self._numbered.setdefault((base, place), [])
            row = next(iter(rows), None)
        else:
            # Some clients send one object after the other, some all values of a key and then those of the next.
            rows = self._in_turn.setdefault(base, [])
            row = next((row for row in rows if key not in row), None)
        if row is None:
            row = {}
            rows.append(row)
            self._list(base).append(row)
        return row


def _malformed(problem: str) -> APIError:
    return APIError(400, f"The request body is no valid multipart/form-data: {problem}.", code="invalid_form")
