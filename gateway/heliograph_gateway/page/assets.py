"""The files of the pages, read once: their types, and a tag by which browsers tell whether they have them."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

# The names' endings decide, not the system's table of types, which differs from machine to machine.
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Asset:
    """A file of the pages.

    Attributes:
        content: Its bytes.
        media_type: Its Content-Type.
        etag: A strong entity tag (RFC 9110, section 8.8.3), with its quotes.
    """

    content: bytes
    media_type: str
    etag: str


def read_assets() -> dict[str, Asset]:
    """Return the files by their paths below the folder `static`, such as `playground/form.js`."""
    return _read(files("heliograph_gateway.page") / "static", "")


def _read(folder: Traversable, prefix: str) -> dict[str, Asset]:
    found: dict[str, Asset] = {}
    for entry in folder.iterdir():
        path = prefix + entry.name
        if entry.is_dir():
            found |= _read(entry, f"{path}/")
        elif media_type := _MEDIA_TYPES.get(f".{entry.name.rpartition('.')[2]}"):
            content = entry.read_bytes()
            found[path] = Asset(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
    return found
