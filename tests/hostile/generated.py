"""Requests made up by Hypothesis from the contract: right values, almost right ones and garbage, in every kind of body.

Hypothesis rather than schemathesis, which makes its requests of /openapi.json alone: most of what this contract takes
(other names of a field, numbers as texts, forms with brackets, pictures, a model's own limits) no schema says, and it
would have to be told each of them as a hook, beside bringing a second HTTP client and test runner.
"""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

from heliograph_api.images.fields import FIELDS, REFUSED, WITHOUT_EFFECT, Field
from heliograph_api.images.takes import PICTURE, PICTURES
from heliograph_api.sampler_table import SAMPLERS, SCHEDULES
from hostile.exchanges import Case, every_path
from hostile.form_bodies import form, part
from runtime.picture_files import as_file, quarters

PICTURE_FILES = (
    as_file(quarters()),
    as_file(quarters(), "JPEG"),
    as_file(quarters("P"), "GIF"),
    as_file(quarters(), "WEBP"),
    as_file(quarters("RGBA")),
    as_file(quarters("L"), "JPEG"),
)
_FEW_STEPS = {"steps": (1, 2), "num_frames": (1, 2), "n": (1, 2), "fps": (1, 60)}
"""Fields that decide how long a drawing takes, with right values that do not let it take long."""
_SIDES = (64, "64", 48, 15, 65_537, 64.0, "64.5")
_TRUTH = (True, False, "true", "0", "yes")
_VALUES: dict[str, Sequence[Any]] = {
    "size": ("64x64", "64", "auto", "64X64", "48x80", " 64x64 ", "'64x64'", "15x64", "64x", "128x129", "99999x99999"),
    "sampler": [name for row in SAMPLERS for name in row.spellings],
    "schedule": [name for row in SCHEDULES for name in row.spellings],
    "model": ("tiny", "default/tiny", "TINY", "other", "tiny ", ""),
    "width": _SIDES,
    "height": _SIDES,
    "stream": _TRUTH,
}
_WEBUI = (
    "init_images",
    "sampler_name",
    "scheduler",
    "denoising_strength",
    "n_iter",
    "batch_size",
    "override_settings",
    "enable_hr",
    "inpainting_mask_invert",
    "alwayson_scripts",
    "cfg_scale",
    "steps",
)
_AWAY = ("http://127.0.0.1/a", "http://[::1]:80/", "file:///etc/passwd", "https://169.254.169.254/")
_TYPES = ("application/json", "multipart/form-data; boundary=B", "text/plain", "application/b+json", "")
_PLACES = (
    ("/v1/models/", ""),
    ("/v1/videos/", ""),
    ("/v1/videos/", "/content"),
    ("/v1/videos?after=", ""),
    ("/", ""),
    ("/v1/videos?limit=", ""),
    ("/v1/videos?order=", ""),
    ("/v1/files/download/", "/a?expires=1&signature=b"),
    ("/v1/files/download/file_0/", "?signature=b"),
    ("/v1/videos/a/content?variant=", ""),
    ("/docs/static/", ""),
    ("/sdapi/v1/", ""),
)
"""What comes before and behind a name in a path."""
_PROMPTS = st.one_of(
    st.text(max_size=60),
    st.text(st.sampled_from("a ()[]{}:|<>\\.,10lora%"), max_size=80),
    st.text(st.characters(exclude_categories=()), max_size=20),  # halves of surrogate pairs among them
)
_GARBAGE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-(10**30), 10**30) | st.floats() | _PROMPTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def _pictures(draw: st.DrawFn) -> Any:
    """Draw a picture, whole or not, in one of the shapes that a JSON body can have it in."""
    file = draw(st.sampled_from(PICTURE_FILES))
    if draw(st.booleans()):
        file = draw(st.sampled_from(_damaged(file, draw(st.integers(0, len(file) - 1)), draw(st.binary(max_size=8)))))
    text = base64.b64encode(file).decode()
    url = f"data:image/png;base64,{text}"
    away = draw(st.sampled_from(_AWAY))
    return draw(st.sampled_from([text, url, [url], {"image_url": url}, {"image_url": {"url": url}}, away, [url, away]]))


def _numbers(field: Field) -> st.SearchStrategy[Any]:
    schema = field.takes.schema
    least, most = _FEW_STEPS.get(field.name, (schema["minimum"], schema["maximum"]))
    inside = st.integers(math.ceil(least), math.floor(most))
    near = st.sampled_from([schema["minimum"] - 1, schema["maximum"] + 1, math.nan, math.inf, -0.0])
    return st.one_of(inside, inside.map(str), inside.map(lambda value: f'"{value}"'), near)


def _right_values(field: Field) -> st.SearchStrategy[Any]:
    """Return values of a field that are right, or almost."""
    schema = field.takes.schema
    if field.name in _VALUES:
        return st.sampled_from(_VALUES[field.name])
    if field.takes in (PICTURE, PICTURES):
        return _pictures()
    if schema.get("type") in {"integer", "number"}:
        return _numbers(field)
    words = schema.get("enum", ())
    return st.sampled_from([*words, *map(str.upper, words), "other"]) if words else _PROMPTS


_NAMED = [(name, _right_values(field)) for field in FIELDS for name in field.names]
_OTHERS = [(name, _GARBAGE) for name in (*WITHOUT_EFFECT, *REFUSED, *_WEBUI, "x", "stream_options_chunk_size")]


@st.composite
def _contents(draw: st.DrawFn) -> dict[str, Any]:
    """Draw what a body says."""
    content: dict[str, Any] = {"prompt": draw(_PROMPTS), "size": "64x64"}
    if draw(st.booleans()):
        content[draw(st.sampled_from(["image", "init_images"]))] = base64.b64encode(PICTURE_FILES[0]).decode()
    for name, right in draw(st.lists(st.sampled_from([*_NAMED, *_OTHERS]), max_size=6)):
        content[name] = draw(st.one_of(right, right, _GARBAGE))
    for name in draw(st.sets(st.sampled_from(sorted(content)), max_size=1)):
        del content[name]
    return content


def _form_value(value: Any) -> bytes:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode(errors="surrogatepass")


@st.composite
def _forms(draw: st.DrawFn, content: Mapping[str, Any]) -> bytes:
    """Draw a form that says as much as a JSON body."""
    parts = []
    for name, value in content.items():
        plain = name.encode(errors="replace").decode().replace('"', "").replace("\r", "").replace("\n", "")
        suffix, more = draw(st.sampled_from([("", ""), ("", ""), ("[]", ""), ("[a]", ""), ("", '; filename="a.png"')]))
        data = draw(st.sampled_from(PICTURE_FILES)) if "image" in name and more else _form_value(value)
        parts += [part(plain + suffix, data, more=more)] * draw(st.sampled_from([1, 1, 1, 2]))
    return form(*parts)


def _damaged(data: bytes, place: int, noise: bytes) -> list[bytes]:
    """Return bytes cut at a place, without their beginning, and with noise there."""
    return [data[:place], data[place:], data[:place] + noise + data[place + 1 :]]


@st.composite
def _posts(draw: st.DrawFn) -> Case:
    """Draw a request to draw something."""
    content = draw(_contents())
    if draw(st.booleans()):
        body, content_type = json.dumps(content).encode(), "application/json"
    else:
        body, content_type = draw(_forms(content)), "multipart/form-data; boundary=B"
    if not draw(st.integers(0, 19)):
        content_type = draw(st.sampled_from(_TYPES))
    if not draw(st.integers(0, 4)):
        body = draw(st.sampled_from(_damaged(body, draw(st.integers(0, len(body))), draw(st.binary(max_size=8)))))
    return Case("generated", body, {"content-type": content_type}, target=draw(st.sampled_from(every_path())))


@st.composite
def _others(draw: st.DrawFn) -> Case:
    """Draw a request for something that is there already, or not."""
    before, behind = draw(st.sampled_from(_PLACES))
    names = st.sampled_from(["tiny", "../..", "video_1", "desc", "options"])
    name = draw(st.one_of(_PROMPTS, st.integers().map(str), names))
    target = before + quote(name.encode(errors="surrogatepass"), safe=draw(st.sampled_from(["", "/"]))) + behind
    method = draw(st.sampled_from(["GET", "GET", "HEAD", "DELETE", "POST", "PUT"]))
    return Case("generated", method=method, target=target)


def requests() -> st.SearchStrategy[Case]:
    """Return requests, most of them to draw something."""
    return st.one_of(_posts(), _posts(), _posts(), _posts(), _others())
