"""Forms that do not follow their boundary, or that follow it for no good."""

from collections.abc import Iterator

from hostile.exchanges import EDITS, GENERATIONS, Case
from runtime.picture_files import as_file, quarters

_TYPE = "multipart/form-data; boundary=B"
_PNG = as_file(quarters())
_PROMPT = b'Content-Disposition: form-data; name="prompt"\r\n\r\na\r\n'


def form(*parts: bytes, boundary: bytes = b"B", end: bytes = b"--B--\r\n") -> bytes:
    """Return a form's body; each part is its headers, an empty line and its data."""
    return b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + end


def part(name: str, value: bytes | str, *, more: str = "", headers: str = "") -> bytes:
    """Return a part; `more` follows the name, `headers` the line that holds it."""
    data = value if isinstance(value, bytes) else value.encode()
    return f'Content-Disposition: form-data; name="{name}"{more}\r\n{headers}\r\n'.encode() + data


def form_case(name: str, body: bytes, *, content_type: str = _TYPE, target: str = GENERATIONS, param: object) -> Case:
    """Return a case with a form."""
    return Case(name, body, {"content-type": content_type}, target=target, param=param)


BOUNDARIES = {
    "no boundary": "multipart/form-data",
    "an empty boundary": "multipart/form-data; boundary=",
    "an open quote": 'multipart/form-data; boundary="',
    "a boundary of another form": "multipart/form-data; boundary=C",
    "a boundary of a megabyte less a bit": "multipart/form-data; boundary=" + "B" * 8000,
    "a boundary in pieces": "multipart/form-data; boundary*0=B; boundary*1=B",
    "pieces that can't be sorted": "multipart/form-data; boundary*=a; boundary*0=b",
    "a piece of a huge number": f"multipart/form-data; boundary*{'9' * 5000}=B",
    "a boundary in a charset that is none": "multipart/form-data; boundary*=nope'x'%ff",
    "a boundary of bytes": "multipart/form-data; boundary=\xff\xfe",
    "a boundary with a percent": "multipart/form-data; boundary*=utf-8''%0d%0a",
    "nothing but semicolons": "multipart/form-data;;;;;;;;;;",
}

BROKEN = {
    "nothing": b"",
    "no first boundary": _PROMPT,
    "no last boundary": form(_PROMPT, end=b""),
    "cut in the last boundary": form(_PROMPT, end=b"--B-"),
    "cut in a header": b"--B\r\nContent-Dispo",
    "cut in the data": form(end=b'--B\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na cat'),
    "cut behind a boundary": b"--B",
    "a header without a colon": form(b"Content-Disposition form-data\r\n\r\na"),
    "a header that starts with a colon": form(b": a\r\n\r\na"),
    "a header with a NUL": form(b'Content-Disposition\0: form-data; name="prompt"\r\n\r\na'),
    "lines that end in a line feed alone": form(_PROMPT).replace(b"\r\n", b"\n"),
    "lines that end in a carriage return alone": form(_PROMPT).replace(b"\r\n", b"\r"),
    "a part without headers": form(b"\r\na"),
    "a part without a name": form(b"Content-Disposition: form-data\r\n\r\na"),
    "a part with an empty name": form(part("", "a")),
    "a name of 257 characters": form(part("n" * 257, "a")),
    "a name of a megabyte": form(part("n" * 1_000_000, "a")),
    "a name that is no UTF-8": form(b'Content-Disposition: form-data; name="\xff\xfe"\r\n\r\na'),
    "a name in pieces that can't be sorted": form(b"Content-Disposition: form-data; name*=a; name*0=b\r\n\r\na"),
    "a name in a charset that is none": form(b"Content-Disposition: form-data; name*=nope'x'%ff\r\n\r\na"),
    "257 parts": form(*[part(f"k{number}", "a") for number in range(257)]),
    "20000 parts": form(*[part("k", "") for _ in range(20_000)]),
    "a header without end": form(b"X: " + b"a" * 1_000_000),
    "JSON under a form's name": b'{"prompt": "a"}',
    "boundaries alone": b"--B\r\n" * 5000,
}

FIELDS = {
    "a prompt that is no UTF-8": ("prompt", [part("prompt", b"\xff\xfe")]),
    "a prompt as a file": ("prompt", [part("prompt", "a", more='; filename="a.txt"')]),
    "a prompt of a picture": ("prompt", [part("prompt", _PNG, headers="Content-Type: image/png\r\n")]),
    "a prompt as an object": ("prompt", [part("prompt[text]", "a")]),
    "a prompt and an object of it": ("prompt", [_PROMPT[:-2], part("prompt[text]", "a")]),
    "three prompts": ("prompt", [_PROMPT[:-2]] * 3),
    "two models": ("model", [_PROMPT[:-2], part("model", "tiny"), part("model", "other")]),
    "two sizes": ("size", [_PROMPT[:-2], part("size", "64x64"), part("size", "32x32")]),
    "two seeds": ("seed", [_PROMPT[:-2], part("seed", "1"), part("seed", "2")]),
    "a seed that is a file": ("seed", [_PROMPT[:-2], part("seed", "1", more='; filename="/etc/passwd"')]),
    "a seed that is an object": ("seed", [_PROMPT[:-2], part("seed[a]", "1")]),
    "steps as a list": ("steps", [_PROMPT[:-2], part("steps[]", "1"), part("steps[]", "2")]),
    "stream as a picture": ("stream", [_PROMPT[:-2], part("stream", _PNG, more='; filename="a"')]),
    "stream options that are no object": ("stream_options", [_PROMPT[:-2], part("stream_options", "true")]),
    "stream options that are a file": (
        "stream_options",
        [_PROMPT[:-2], part("stream_options", "", more='; filename="a"')],
    ),
    "LoRAs that are no JSON": ("loras", [_PROMPT[:-2], part("loras", "[" * 100_000)]),
    "LoRAs with NaN": ("loras", [_PROMPT[:-2], part("loras", '[{"id": 0, "scale": NaN}]')]),
    "LoRAs with a path": ("loras", [_PROMPT[:-2], part("loras", '[{"id": "../../x", "scale": 1}]')]),
    "LoRAs with half of a surrogate pair": ("loras", [_PROMPT[:-2], part("loras", '[{"id": "\\ud800"}]')]),
    "LoRAs as a file": ("loras", [_PROMPT[:-2], part("loras", "[]", more='; filename="a"')]),
    "a picture that is empty": ("image", [_PROMPT[:-2], part("image", "", more='; filename="a.png"')]),
    "a picture that is a path": ("image", [_PROMPT[:-2], part("image", "../../etc/passwd")]),
    "a picture that is an object": ("image", [_PROMPT[:-2], part("image[x]", _PNG, more='; filename="a"')]),
    "17 pictures": ("image", [_PROMPT[:-2], *[part("image[]", _PNG, more='; filename="a"')] * 17]),
    "a mask alone": ("image", [_PROMPT[:-2], part("mask", _PNG, more='; filename="a"')]),
    "two masks": ("mask", [_PROMPT[:-2], *[part("mask", _PNG, more='; filename="a"')] * 2]),
    "a picture in quoted-printable": (
        "image",
        [
            _PROMPT[:-2],
            part("image", "=89PNG=0D", more='; filename="a"', headers="Content-Transfer-Encoding: base64\r\n"),
        ],
    ),
}

NAMES = (
    "[",
    "]",
    "[]",
    "[[]]",
    "a[b][c]",
    "a[b[c]]",
    "a]b[",
    "[prompt]",
    "prompt][",
    "a[" * 100,
    "__class__",
    "../../x",
    "%00",
    "a\tb",
    "$(id)",
    "a" * 256,
)
"""Names of parts beside which there is no prompt: whatever they are read as, that is what is told."""

LENIENT = {
    "a form in a form": form(part("a", form(_PROMPT))),
    "the end before the beginning": b"--B--\r\n" + form(_PROMPT, end=b""),
    "a preamble": b"a cat\r\n" + form(part("a", "a")),
    "an epilogue": form(part("a", "a")) + b"--B\r\n" * 99,
    "a header twice": form(part("a", "a", headers='Content-Disposition: form-data; name="b"\r\n')),
    "a part of 3 MB": form(part("a", "a" * 3_000_000)),
}
"""Forms that say nothing which counts, whatever they are read as."""

FILE_NAMES = (
    "../../../etc/passwd",
    "/etc/passwd",
    "C:\\\\boot.ini",
    "a\\0.png",
    "|id",
    "a.php",
    "a" * 4000,
    ".",
    "con",
)


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for name, content_type in BOUNDARIES.items():
        yield form_case(name, form(_PROMPT[:-2]), content_type=content_type, param=None)
    for name, body in BROKEN.items():
        yield form_case(f"form: {name}", body, param=None)
        if len(body) < 10_000:
            yield form_case(f"form at edits: {name}", body, target=EDITS, param=None)
    for name, (param, parts) in FIELDS.items():
        yield form_case(name, form(*parts), param=param)
    for name, body in LENIENT.items():
        yield form_case(f"form: {name}", body, param=...)
    # Files in fields that mean nothing, where answers repeat what was sent, and where jobs keep it.
    file = part("x", b"\xff\xfe", more='; filename="a"')
    for target, statuses in (("/sdapi/v1/txt2img", (200,)), ("/v1/videos", (200, 429)), (GENERATIONS, (200,))):
        body = form(_PROMPT[:-2], part("width", "64"), part("height", "64"), part("steps", "1"), file)
        yield Case(f"a file beside it all at {target}", body, {"content-type": _TYPE}, target=target, statuses=statuses)
    for name in NAMES:
        yield form_case(f"a part called {name[:40]}", form(part(name, "a")), param="prompt")
    for name in FILE_NAMES:
        file = part("image", b"GIF", more=f'; filename="{name}"', headers="Content-Type: image/png\r\n")
        yield form_case(f"a file called {name[:40]}", form(_PROMPT[:-2], file), target=EDITS, param="image")
