"""Forms, read into the shape of JSON bodies."""

from typing import Any

import httpx
import pytest

from heliograph_api.body import check_content_type, parse_body
from heliograph_api.errors import APIError
from heliograph_api.forms import MAX_PARTS
from heliograph_api.images.inputs import Upload

HEAD = "multipart/form-data; boundary=x"


def form(*parts: tuple[str, str], files: list[tuple[str, Any]] | None = None) -> Any:
    """Return what is read of a form as httpx writes it."""
    plain = [(name, (None, value)) for name, value in parts]
    request = httpx.Request("POST", "http://host/", files=[*plain, *(files or [])])
    return parse_body(request.read(), request.headers["content-type"])


def part(disposition: str, content: bytes = b"a", *headers: str) -> bytes:
    head = "\r\n".join([f"Content-Disposition: form-data; {disposition}", *headers])
    return b"--x\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n"


def refusal(body: bytes, content_type: str = HEAD) -> APIError:
    with pytest.raises(APIError) as caught:
        parse_body(body, content_type)
    return caught.value


def test_text_and_files() -> None:
    found = form(
        ("prompt", "ein Käse\nzwei"), ("n", "2"), files=[("image", ("../a.png", b"\x00\r\n--x", "text/plain"))]
    )
    assert found == {"prompt": "ein Käse\nzwei", "n": "2", "image": Upload(b"\x00\r\n--x")}


def test_a_part_without_a_file_name_is_a_file_by_its_content_type() -> None:
    body = part('name="image"', b"\xff\xd8", "Content-Type: image/jpeg") + part('name="n"', b"1") + b"--x--\r\n"
    assert parse_body(body, HEAD) == {"image": Upload(b"\xff\xd8"), "n": "1"}


def test_names_with_brackets_are_lists_and_objects() -> None:
    found = form(
        ("stream_options[include_usage]", "true"),
        ("stream_options[preview]", "false"),
        ("prompt", "a"),
        ("prompt", "b"),
        files=[("image[]", b"1"), ("image[]", b"2"), ("mask[]", b"3")],
    )
    assert found == {
        "stream_options": {"include_usage": "true", "preview": "false"},
        "prompt": ["a", "b"],
        "image": [Upload(b"1"), Upload(b"2")],
        "mask": [Upload(b"3")],
    }


def test_one_name_as_a_list_and_alone() -> None:
    assert form(files=[("image", b"1"), ("image[]", b"2")]) == {"image": [Upload(b"1"), Upload(b"2")]}
    assert form(files=[("image[]", b"1"), ("image", b"2")]) == {"image": [Upload(b"1"), Upload(b"2")]}


SEVERAL = [{"id": "a", "scale": "1"}, {"id": "b", "scale": "2"}]


@pytest.mark.parametrize(
    "names",
    [
        # One object after the other, and one key after the other, as OpenAI's client for Python writes it.
        [("[][id]", "a"), ("[][scale]", "1"), ("[][id]", "b"), ("[][scale]", "2")],
        [("[][id]", "a"), ("[][id]", "b"), ("[][scale]", "1"), ("[][scale]", "2")],
        [("[0][id]", "a"), ("[1][id]", "b"), ("[1][scale]", "2"), ("[0][scale]", "1")],
    ],
)
def test_a_list_of_objects(names: list[tuple[str, str]]) -> None:
    assert form(*[(f"loras{name}", value) for name, value in names], ("n", "1")) == {"loras": SEVERAL, "n": "1"}


def test_lists_by_number() -> None:
    assert form(files=[("image[0]", b"1"), ("image[1]", b"2")]) == {"image": [Upload(b"1"), Upload(b"2")]}
    assert form(("loras[0][id]", "a"), ("loras[1][scale]", "2")) == {"loras": [{"id": "a"}, {"scale": "2"}]}


def test_objects_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(APIError) as caught:
        form(("loras[][id]", "a"), ("loras[][id]", "b"), ("loras[][scale]", "2"))
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, "loras", "invalid_value")
    assert "number them, as loras[0][...], or send the list as JSON" in caught.value.message


def test_other_brackets_are_names() -> None:
    names = ["a[b][c]", "a[b", "a[][b][c]", "[a]"]
    assert form(*[(name, "1") for name in names]) == dict.fromkeys(names, "1")


def test_what_a_browser_sends_for_no_chosen_file_is_absent() -> None:
    body = part('name="mask"; filename=""', b"", "Content-Type: application/octet-stream") + part('name="n"', b"1")
    assert parse_body(body + b"--x--\r\n", HEAD) == {"n": "1"}
    body = part('name="mask"; filename="a.png"', b"") + part('name="image"; filename=""', b"1")
    assert parse_body(body + b"--x--\r\n", HEAD) == {"mask": Upload(b""), "image": Upload(b"1")}


def test_a_large_text_is_no_matter() -> None:
    assert form(("image", "A" * 3_000_000)) == {"image": "A" * 3_000_000}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "it ends in the middle"),
        (b"--x--\r\n" * 0 + b"garbage", "does not follow its boundary"),
        (part('name="a"'), "it ends in the middle"),
        (part('name="a"')[:-2], "it ends in the middle"),
        (part('name=""') + b"--x--\r\n", "a part has no name"),
        (part('filename="a"') + b"--x--\r\n", "a part has no name"),
        (part(f'name="{"a" * 300}"') + b"--x--\r\n", "a part has no name"),
        (part('name="a"') * (MAX_PARTS + 1) + b"--x--\r\n", f"it has more than {MAX_PARTS} parts"),
        (b"--x\r\nno header\r\n\r\na\r\n--x--\r\n", "does not follow its boundary"),
    ],
)
def test_what_is_no_form_is_refused(body: bytes, message: str) -> None:
    error = refusal(body)
    assert (error.status, error.code) == (400, "invalid_form")
    assert message in error.message


def test_a_text_that_is_no_text_is_refused_by_name() -> None:
    error = refusal(part('name="prompt"', b"\xff\xfe") + b"--x--\r\n")
    assert (error.status, error.param, error.code) == (400, "prompt", "invalid_type")


def test_a_boundary_is_needed() -> None:
    assert "names no boundary" in refusal(b"", "multipart/form-data").message


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/xml"])
def test_another_content_type_is_refused(content_type: str) -> None:
    error = refusal(b"{}", content_type)
    assert (error.status, error.code) == (415, "unsupported_media_type")


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8", "application/a+json"])
def test_json_has_several_names(content_type: str) -> None:
    check_content_type(content_type)
    assert parse_body(b'{"a": 1}', content_type) == {"a": 1}
