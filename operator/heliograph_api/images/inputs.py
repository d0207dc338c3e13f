"""Input pictures in a request: uploads, base64, data URLs and http(s) URLs, in every place where a client puts them."""

import base64
import binascii
import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from heliograph_api.errors import APIError, invalid_request
from heliograph_api.values import given

MAX_INPUTS = 16
"""Most pictures in one field (OpenAI's limit of an edit)."""
MAX_URL = 8192

FORMATS = ("PNG", "JPEG", "WebP", "GIF")
"""File formats that are read, judged by content."""

FIELDS = {
    "images": ("image", "images", "file", "files", "init_images", "input_reference", "start_image"),
    "reference_images": ("ref_images", "reference_images"),
    "mask": ("mask",),
    "control_image": ("control_image", "control"),
    "last_image": ("end_image", "last_image"),
}
"""Canonical field to the fields that pictures come in."""

PICTURE_FIELDS = frozenset(name for names in FIELDS.values() for name in names)
"""All of these."""

_FROM_URL_SAFE = str.maketrans("-_", "+/")
_DATA_URL = re.compile(r"data:[^,]{0,200},", re.IGNORECASE)
_HTTP_URL = re.compile(r"https?://", re.IGNORECASE)
_URL_KEYS = ("image_url", "url")
_INLINE_KEYS = ("b64_json", "base64", "data")


@dataclass(frozen=True)
class Upload:
    """A file part of a form; its name and content type are the client's claims, and decide nothing."""

    data: bytes = dataclasses.field(repr=False)


@dataclass(frozen=True)
class InputImage:
    """A picture that came with a request.

    Attributes:
        field: Field that it came in, for errors.
        data: The file; None when there is only a URL.
        url: Where it is to be fetched from; None when the file itself came.
    """

    field: str = dataclasses.field(compare=False)
    data: bytes | None = dataclasses.field(default=None, repr=False)
    url: str | None = dataclasses.field(default=None, repr=False)


def as_images(content: Mapping[str, Any], name: str) -> tuple[InputImage, ...]:
    """Return the pictures of a field: one or a list of uploads, strings or OpenAI's `{"image_url": ...}` objects.

    Raises:
        APIError: 400, one of them is no picture, or there are too many.
    """
    if not given(content, name):
        return ()
    value = content[name]
    values = value if isinstance(value, list) else [value]
    if len(values) > MAX_INPUTS:
        raise invalid_request(name, f"holds {len(values)} pictures; send at most {MAX_INPUTS}.")
    return tuple(_image(name, value) for value in values)


def as_image(content: Mapping[str, Any], name: str) -> InputImage | None:
    """Return the one picture of a field, or None when it is absent; raise `APIError` (400) for anything else."""
    images = as_images(content, name)
    if len(images) > 1:
        raise invalid_request(name, f"holds {len(images)} pictures; send one.")
    return images[0] if images else None


def sniff_image(data: bytes) -> str | None:
    """Return the format of a picture file by its first bytes, one of `FORMATS`, or None."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    return None


def inlined(content: Mapping[str, Any], fetched: Mapping[str, bytes]) -> bytes:
    """Return a request body as JSON with every picture inline.

    Args:
        content: What the body said.
        fetched: URL to the file that was fetched from it; other strings stay as they are.
    """

    def inline(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: inline(part) for key, part in value.items()}
        if isinstance(value, list):
            return [inline(part) for part in value]
        if isinstance(value, Upload):
            return base64.b64encode(value.data).decode()
        found = fetched.get(value.strip()) if isinstance(value, str) else None
        return value if found is None else base64.b64encode(found).decode()

    # Any other field may hold the same text for a reason of its own, such as a prompt; a file in one means nothing.
    body = {key: inline(value) if key in PICTURE_FIELDS else value for key, value in content.items()}
    return json.dumps(body, default=lambda _: None).encode()


def _image(name: str, value: Any) -> InputImage:
    if isinstance(value, Upload):
        return _file(name, value.data)
    if isinstance(value, Mapping):
        return _object(name, value)
    if not isinstance(value, str):
        raise invalid_request(name, "must be a picture: an upload, base64, a data URL or an http(s) URL.")
    text = value.strip()
    if _HTTP_URL.match(text):
        if len(text) > MAX_URL or not text.isprintable() or " " in text:
            raise invalid_request(name, f"must be a URL of at most {MAX_URL} printable characters.")
        return InputImage(name, url=text)
    if match := _DATA_URL.match(text):
        if not match[0].lower().endswith(";base64,"):
            raise invalid_request(name, "must be a data URL in base64: data:image/png;base64,...")
        text = text[match.end() :]
    return _file(name, _decoded(name, text))


def _object(name: str, value: Mapping[Any, Any]) -> InputImage:
    """Return the picture of OpenAI's reference objects; `image_url` may be an object of its own, as in chats."""
    if value.get("file_id"):
        raise invalid_request(name, "file_id: no files are kept here; send image_url instead.", code="unsupported")
    for key in (*_URL_KEYS, *_INLINE_KEYS):
        found = value.get(key)
        if isinstance(found, Mapping):
            found = found.get("url")
        if isinstance(found, str) and found:
            return _image(name, found)
    raise invalid_request(name, "must have image_url: a data URL, or an http(s) URL.")


def _decoded(name: str, text: str) -> bytes:
    """Return what base64 says; line breaks, a missing end and the URL-safe letters are let pass."""
    plain = "".join(text.split()).translate(_FROM_URL_SAFE).rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise invalid_request(
            name, "is neither base64, nor a data URL, nor an http(s) URL; send one of them.", code="invalid_image"
        ) from None


def _file(name: str, data: bytes) -> InputImage:
    if sniff_image(data) is None:
        problem = "is empty" if not data else "is no picture of a known format"
        raise APIError(
            400,
            f"{name}: Invalid image: it {problem}; send {', '.join(FORMATS[:-1])} or {FORMATS[-1]}.",
            param=name,
            code="invalid_image",
        )
    return InputImage(name, data=data)
