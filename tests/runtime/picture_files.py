"""Picture files, good and bad ones."""

import base64
import io
import random
import struct
import zlib
from collections.abc import Iterable
from typing import Any

from PIL import Image

QUARTERS = {(8, 8): (200, 30, 30), (56, 8): (30, 160, 50), (8, 56): (30, 70, 220), (56, 56): (240, 220, 40)}
"""A place in each quarter of `quarters`, and its colour."""


def quarters(mode: str = "RGB") -> Image.Image:
    """Return a picture of 64x64 pixels that shows which way is up: red, green, blue and yellow from the top left."""
    image = Image.new("RGB", (64, 64))
    for (x, y), colour in QUARTERS.items():
        image.paste(colour, (x // 32 * 32, y // 32 * 32, x // 32 * 32 + 32, y // 32 * 32 + 32))
    return image.quantize(4) if mode == "P" else image.convert(mode)


def noise(side: int = 64) -> Image.Image:
    """Return a square picture that is always the same, and that no format makes small."""
    return Image.frombytes("RGB", (side, side), random.Random(1).randbytes(side * side * 3))


def as_file(image: Image.Image, file_format: str = "PNG", **settings: Any) -> bytes:
    """Return a picture as a file."""
    file = io.BytesIO()
    image.save(file, file_format, **settings)
    return file.getvalue()


def b64(image: Image.Image) -> str:
    """Return a picture as a PNG in base64."""
    return base64.b64encode(as_file(image)).decode()


def png(width: int, height: int, rows: bytes, *, between: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """Return a greyscale PNG of one bit a pixel with these compressed rows, and other chunks before them."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), *between, (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, chunks))


def blank_png(width: int, height: int) -> bytes:
    """Return a black PNG, whose file is a thousand times smaller than its pixels are."""
    return png(width, height, zlib.compress(bytes((width + 7) // 8 + 1) * height, 9))


def claims(file: bytes, size: int = 60_000) -> bytes:
    """Return a PNG, JPEG, WebP or GIF that says that both its sides have so many pixels."""
    if file.startswith(b"\x89PNG"):
        header = b"IHDR" + struct.pack(">II", size, size) + file[24:29]
        return file[:12] + header + struct.pack(">I", zlib.crc32(header)) + file[33:]
    if file.startswith(b"\xff\xd8"):
        start = file.index(b"\xff\xc0")
        return file[: start + 5] + struct.pack(">HH", size, size) + file[start + 9 :]
    if file.startswith(b"GIF"):
        return file[:6] + struct.pack("<HH", size, size) + file[10:]
    side = (size - 1).to_bytes(3, "little")
    extended = b"VP8X" + struct.pack("<I", 10) + bytes(4) + side + side
    body = b"WEBP" + extended + file[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def many_scans(count: int, *, side: int) -> bytes:
    """Return a progressive JPEG whose last scan is there again and again."""
    file = as_file(Image.new("RGB", (side, side)), "JPEG", progressive=True)
    last = file[file.rindex(b"\xff\xda") : -2]
    return file[:-2] + last * count + b"\xff\xd9"


def with_orientation(image: Image.Image, orientation: int, file_format: str) -> bytes:
    """Return a file with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return as_file(image, file_format, exif=exif, **({"quality": 95} if file_format != "PNG" else {}))


def _chunk(chunk: tuple[bytes, bytes]) -> bytes:
    kind, data = chunk
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
