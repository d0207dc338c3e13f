"""Input pictures in a request."""

import base64
import json
from typing import Any

import pytest

from heliograph_api.errors import APIError
from heliograph_api.images.inputs import InputImage, Upload, as_image, as_images, inlined, sniff_image

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
B64 = base64.b64encode(PNG).decode()


@pytest.mark.parametrize(
    "value",
    [
        Upload(PNG),
        B64,
        B64.rstrip("="),
        base64.urlsafe_b64encode(PNG).decode(),
        "\n".join(B64[start : start + 76] for start in range(0, len(B64), 76)) + "\n",
        f"data:image/png;base64,{B64}",
        f"DATA:text/plain;charset=utf-8;base64,{B64}",
        {"image_url": f"data:image/png;base64,{B64}"},
        {"image_url": {"url": f"data:image/png;base64,{B64}"}},
        {"type": "input_image", "image_url": B64},
        {"b64_json": B64},
    ],
)
def test_a_picture_comes_in_many_forms(value: Any) -> None:
    assert as_images({"image": value}, "image") == (InputImage("image", PNG),)
    assert as_images({"image": [value, value]}, "image") == (InputImage("image", PNG),) * 2


@pytest.mark.parametrize("url", ["https://example.org/a.png?x=1", " HTTP://example.org/a.png\n"])
def test_a_url_is_left_to_be_fetched(url: str) -> None:
    assert as_image({"mask": url}, "mask") == InputImage("mask", url=url.strip())
    assert as_image({"mask": {"image_url": url}}, "mask") == InputImage("mask", url=url.strip())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, "must be a picture"),
        (True, "must be a picture"),
        ([[B64]], "must be a picture"),
        ("hello world!", "is neither base64"),
        ("/etc/passwd", "is no picture of a known format"),
        ("file:///etc/passwd", "is neither base64"),
        ("é" * 8, "is neither base64"),
        ("A", "is neither base64"),
        ("data:image/svg+xml,<svg/>", "must be a data URL in base64"),
        ("data:image/png;base64,", "Invalid image: it is empty"),
        (Upload(b""), "Invalid image: it is empty"),
        (Upload(b"%PDF-1.7"), "Invalid image: it is no picture of a known format; send PNG, JPEG, WebP or GIF"),
        (base64.b64encode(b"<svg xmlns='x'/>").decode(), "is no picture of a known format"),
        ("http://example.org/" + "a" * 9000, "must be a URL of at most 8192"),
        ("http://example.org/a b", "must be a URL of at most 8192"),
        ({"file_id": "file-1"}, "no files are kept here"),
        ({"nothing": 1}, "must have image_url"),
        ([Upload(PNG)] * 17, "holds 17 pictures; send at most 16"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_picture_is_refused(value: Any, message: str) -> None:
    with pytest.raises(APIError) as caught:
        as_images({"image": value}, "image")
    assert (caught.value.status, caught.value.param) == (400, "image")
    assert message in caught.value.message
    assert len(caught.value.message) < 200


def test_one_picture_is_not_two() -> None:
    with pytest.raises(APIError, match="mask: holds 2 pictures; send one"):
        as_image({"mask": [Upload(PNG)] * 2}, "mask")


@pytest.mark.parametrize(
    ("data", "format_"),
    [
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"GIF89a", "GIF"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "WebP"),
        (b"RIFF\x00\x00\x00\x00WAVE", None),
        (b"BM", None),
        (b"", None),
    ],
)
def test_the_format_is_told_by_content(data: bytes, format_: str | None) -> None:
    assert sniff_image(data) == format_


def test_a_body_is_written_anew_with_its_pictures_inline() -> None:
    url = "https://example.org/a.png"
    content = {
        "prompt": url,
        "image": [Upload(PNG), f" {url}", {"image_url": url}],
        "mask": f"data:image/png;base64,{B64}",
        "n": 2,
        "extra": {"deep": [1]},
    }
    body = json.loads(inlined(content, {url: PNG}))
    assert body == content | {"image": [B64, B64, {"image_url": B64}]}
    assert as_images(body, "image") == (InputImage("image", PNG),) * 3
