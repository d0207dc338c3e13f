"""Pictures that are none, bombs, and files of two minds; `runtime/test_picture_corpus.py` has those of every format."""

import base64
import struct
import zlib
from collections.abc import Iterator

from PIL import Image

from hostile.exchanges import EDITS, Case, json_case
from runtime.picture_files import as_file, blank_png, claims, png, quarters

_PNG = as_file(quarters())
_JPEG = as_file(quarters(), "JPEG")
_GIF = as_file(quarters("P"), "GIF")
_WEBP = as_file(quarters(), "WEBP")
_ZIP = b"PK\3\4" + bytes(26) + b"PK\1\2" + bytes(42) + b"PK\5\6" + bytes(18)
_SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script><image href='file:///etc/passwd'/></svg>"
_HTML = b"<!doctype html><script>fetch('//example.org')</script>"
_BOMB = zlib.compress(bytes(50_000_000), 9)
_ROWS = zlib.compress(bytes(9) * 64)


def data_url(file: bytes, media_type: str = "image/png") -> str:
    """Return a file as a data URL."""
    return f"data:{media_type};base64,{base64.b64encode(file).decode()}"


def _framed_gif(frames: int) -> bytes:
    head = _GIF[:-1]
    start = head.index(b"\x2c", 13)
    return head + head[start:] * frames + b";"


def _apng(frames: int, side: int) -> bytes:
    control = struct.pack(">IIIIIHHBB", 0, side, side, 0, 0, 1, 1, 0, 0)
    extra = [(b"acTL", struct.pack(">II", frames, 0)), (b"fcTL", control)]
    return png(64, 64, _ROWS, between=extra)


def _exif(entries: bytes, *, offset: int = 8) -> bytes:
    """Return a JPEG with a TIFF header and whatever follows it as its EXIF."""
    body = b"Exif\0\0II*\0" + struct.pack("<I", offset) + entries
    return _JPEG[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + _JPEG[2:]


def _entry(tag: int, kind: int, count: int, value: int) -> bytes:
    return struct.pack("<HHII", tag, kind, count, value)


REFUSED: dict[str, bytes] = {
    "SVG": _SVG,
    "HTML": _HTML,
    "PDF": b"%PDF-1.7\n1 0 obj<</OpenAction 2 0 R>>",
    "PostScript": b"%!PS\n(file) run",
    "a zip": _ZIP,
    "a program": b"\x7fELF" + bytes(60),
    "a class file": b"\xca\xfe\xba\xbe" + bytes(60),
    "an ImageMagick script": b"push graphic-context\nviewbox 0 0 1 1\nfill 'url(https://x/|id)'\npop graphic-context",
    "a playlist": b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\nfile:///etc/passwd",
    "DICOM": bytes(128) + b"DICM",
    "BMP": as_file(quarters(), "BMP"),
    "TIFF": as_file(quarters(), "TIFF"),
    "ICO": as_file(quarters(), "ICO"),
    "PNG behind blanks": b"  " + _PNG,
    "PNG behind a byte order mark": b"\xef\xbb\xbf" + _PNG,
    "PNG with its line ends changed": _PNG.replace(b"\r\n", b"\n", 1),
    "a PNG signature alone": _PNG[:8],
    "a PNG header alone": _PNG[:33],
    "a PNG cut in its pixels": _PNG[:-60],
    "a JPEG cut in its pixels": _JPEG[:400],
    "a JPEG of markers": b"\xff\xd8" + b"\xff" * 10_000,
    "a JPEG of restarts": b"\xff\xd8" + b"\xff\xd0" * 10_000,
    "a JPEG with a segment of no length": b"\xff\xd8\xff\xe1\0\0" + bytes(100),
    "a GIF cut in its header": _GIF[:11],
    "a GIF without a frame": _GIF[:13] + b";",
    "a WebP of another size": _WEBP[:4] + b"\xff\xff\xff\xff" + _WEBP[8:20],
    "a WebP that is a sound": b"RIFF\x24\0\0\0WAVEfmt ",
    "a PNG of bad checksums": _PNG[:29] + b"\0\0\0\0" + _PNG[33:],
    "a PNG of 0 pixels": png(0, 64, _ROWS),
    "a PNG of 2^31 pixels a side": png(2**31 - 1, 2**31 - 1, _ROWS),
    "a PNG of negative size": png(2**32 - 1, 1, _ROWS),
    "a PNG 60000 wide": png(60_000, 60_000, _ROWS),
    "a PNG without pixels": png(64, 64, b""),
    "a PNG of pixels that are no zlib": png(64, 64, b"\xff" * 99),
    "a JPEG of 60000 a side": claims(_JPEG),
    "a GIF of 60000 a side": claims(_GIF),
    "a WebP of 16383": claims(_WEBP),
    "a black PNG of 400 megapixels": blank_png(20_000, 20_000),
    "a profile that is a bomb": png(64, 64, b"", between=[(b"iCCP", b"a\0\0" + _BOMB)]),
    "a text that is a bomb": png(64, 64, b"", between=[(b"zTXt", b"a\0\0" + _BOMB)]),
    "a text in UTF-8 that is a bomb": png(64, 64, b"", between=[(b"iTXt", b"a\0\1\0\0\0" + _BOMB)]),
    "texts that are bombs together": png(
        64, 64, b"", between=[(b"zTXt", b"a\0\0" + zlib.compress(bytes(900_000)))] * 99
    ),
    "100000 chunks": png(64, 64, b"", between=[(b"tEXt", b"a\0b")] * 100_000),
    "a palette for grey": png(64, 64, b"", between=[(b"PLTE", b"a")]),
    "two headers": png(64, 64, b"", between=[(b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 8, 6, 0, 0, 0))]),
    "a chunk of 2 GiB": _PNG[:33] + struct.pack(">I", 2**31 - 1) + b"tEXt",
    "an APNG of 2^31 frames without pixels": _apng(2**31 - 1, 64)[:-60],
    "an APNG with frames larger than it": _apng(2, 60_000),
}

READ: dict[str, bytes] = {
    "a PNG that is a zip too": _PNG + _ZIP,
    "a JPEG that is HTML too": _JPEG + _HTML,
    "a GIF that is a script": _GIF + b"/*",
    "a PNG with a script in its text": png(64, 64, _ROWS, between=[(b"tEXt", b"a\0" + _HTML)]),
    "a GIF of 20000 frames": _framed_gif(20_000),
    "an APNG of 2^31 frames": _apng(2**31 - 1, 64),
    "CMYK": as_file(quarters().convert("CMYK"), "JPEG"),
    "16-bit grey": as_file(Image.new("I;16", (64, 64), 40_000)),
    "one bit": as_file(quarters("1")),
    "one pixel": as_file(Image.new("RGB", (1, 1))),
    "a palette with holes": as_file(quarters("P"), transparency=b"\0\xff"),
    "a thin picture": as_file(Image.new("RGB", (2000, 1))),
    "EXIF that points at itself": _exif(b"\0\0" + struct.pack("<I", 8)),
    "EXIF that goes round": _exif(b"\1\0" + _entry(0x8769, 4, 1, 8) + struct.pack("<I", 8)),
    "EXIF behind its end": _exif(b"", offset=2**32 - 1),
    "EXIF with 65535 entries": _exif(b"\xff\xff"),
    "EXIF with a value of 4 GiB": _exif(b"\1\0" + _entry(0x0112, 3, 2**32 - 1, 8) + bytes(4)),
    "EXIF with no such turn": _exif(b"\1\0" + _entry(0x0112, 3, 1, 9999) + bytes(4)),
    "EXIF that turns by text": _exif(b"\1\0" + _entry(0x0112, 2, 2, 0x41) + bytes(4)),
}
"""Odd files that show a picture all the same."""

_PLAIN = base64.b64encode(_PNG).decode()

STRINGS: dict[str, str] = {
    "a data URL of HTML": data_url(_HTML, "text/html"),
    "a data URL of SVG": data_url(_SVG, "image/svg+xml"),
    "a data URL of HTML called PNG": data_url(_HTML),
    "a data URL without base64": "data:image/png,%89PNG%0D%0A",
    "a data URL without a comma": "data:image/png;base64",
    "a data URL without data": "data:image/png;base64,",
    "a data URL in a data URL": data_url(data_url(_PNG).encode()),
    "a data URL of a long type": "data:" + "a" * 300 + ",",
    "a data URL in another charset": "data:;charset=utf-7;base64,+AGE-",
    "blanks": "   x   ",
    "a comma": ",",
    "=": "====",
    "base64 with a NUL": _PLAIN[:40] + "\0" + _PLAIN[40:],
    "base64 in letters of other scripts": "\uff41\uff42" * 8,
    "base64 with a byte too many": "iVBORw0KGgo=A",
    "base64 twice": base64.b64encode(_PLAIN.encode()).decode(),
    "hexadecimal": _PNG.hex(),
    "a million dashes": "-" * 1_000_000,
    "the file itself": _PNG.decode("latin-1"),
    "a Windows path": "C:\\Windows\\win.ini",
    "a UNC path": "\\\\host\\share\\a.png",
    "a device": "/dev/zero",
    "a wildcard": "/proc/*/environ",
    "a shell": "$(cat a.png)",
    "a pipe": "|id",
    "a template": "{{7*7}}",
}


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for name, file in REFUSED.items():
        body = {"prompt": "a", "image": data_url(file)}
        yield json_case(name, body, target=EDITS, param="image")
    for name, text in STRINGS.items():
        yield json_case(name, {"prompt": "a", "image": text}, target=EDITS, param="image")
    for name, file in READ.items():
        enlarged = {"image": data_url(file), "scale": 2, "response_format": "b64_json"}
        yield json_case(name, enlarged, target="/v1/images/upscale", statuses=(200,))
    for name in ("SVG", "a PNG cut in its pixels", "a JPEG of 60000 a side", "a profile that is a bomb"):
        good, bad = data_url(_PNG), data_url(REFUSED[name])
        others = {"prompt": "a", "size": "64x64"}
        yield json_case(f"{name} as a mask", {**others, "image": good, "mask": bad}, target=EDITS, param="mask")
        yield json_case(
            f"{name} as the last of many", {**others, "images": [good, good, bad]}, target=EDITS, param="images"
        )
        yield json_case(f"{name} by OpenAI's key", {**others, "image": {"image_url": bad}}, target=EDITS, param="image")
        yield json_case(
            f"{name} by AUTOMATIC1111's",
            {**others, "init_images": [bad]},
            target="/sdapi/v1/img2img",
            param="init_images",
        )
        yield json_case(f"{name} to enlarge", {"image": bad}, target="/v1/images/upscale", param="image")
