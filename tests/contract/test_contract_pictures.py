"""Pictures that come with a request: in every place, by URL too, and masks of every kind."""

import json
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from contract.differences import MOST_PICTURES
from contract.models import EngineName
from contract.spellings import form_parts
from contract.stack import EDITS, GENERATIONS, Model, Part, decoded, refusal, succeeded
from gateway.peers import Peer
from pictures import draw
from runtime.picture_files import as_file, b64

CIRCLE = draw("red", "circle", "white")
DATA_URL = f"data:image/png;base64,{b64(CIRCLE)}"
ASKED: dict[str, Any] = {"prompt": "a blue star", "seed": 3, "steps": 4, "strength": 0.5, "size": "64x64"}
BOX = (32, 32, 96, 96)
EDIT_PATHS = [EDITS, "/images/edits", "/v1-openai/images/edits", "/v1-openai/image/edit", "/image/edit"]


def white_box(size: int = 128) -> Image.Image:
    mask = Image.new("L", (128, 128))
    mask.paste(255, BOX)
    return mask.resize((size, size), Image.Resampling.NEAREST)


def with_hole(image: Image.Image) -> Image.Image:
    """Return a picture with a transparent box."""
    image = image.convert("RGBA")
    image.paste((0, 0, 0, 0), BOX)
    return image


def file_of(response: httpx.Response) -> str:
    (item,) = succeeded(response).json()["data"]
    return str(item["b64_json"])


def pixels(file: str) -> NDArray[np.int64]:
    return np.asarray(decoded({"b64_json": file}), dtype=int)


@pytest.fixture(scope="module")
def changed(plain: Model) -> str:
    """The red circle, changed."""
    return plain.file(EDITS, **ASKED, image=b64(CIRCLE))


@pytest.fixture(scope="module")
def painted(plain: Model) -> str:
    """The red circle, its box drawn anew."""
    return plain.file(EDITS, **ASKED, image=b64(CIRCLE), mask=b64(white_box()))


@pytest.mark.parametrize("path", [GENERATIONS, *EDIT_PATHS])
def test_every_path_changes_a_picture(plain: Model, changed: str, path: str) -> None:
    form = plain.post_form(path, [*form_parts(ASKED), ("image", ("a.png", as_file(CIRCLE)))])

    assert plain.file(path, **ASKED, image=b64(CIRCLE)) == changed
    assert file_of(form) == changed


@pytest.mark.parametrize(
    "place",
    [
        {"images": [{"image_url": DATA_URL}]},
        {"images": [{"image_url": {"url": DATA_URL}}]},
        {"image": {"b64_json": b64(CIRCLE)}},
        {"image": b64(CIRCLE).replace("+", "-").replace("/", "_").rstrip("=")},
        {"image": DATA_URL.replace("image/png", "image/png;name=a.png")},
        {"file": f" {b64(CIRCLE)}\n"},
        {"input_reference": {"image_url": DATA_URL}},
    ],
    ids=["image_url", "image_url object", "b64_json", "URL-safe", "data URL", "spaces", "input_reference"],
)
def test_json_holds_pictures_in_many_shapes(plain: Model, changed: str, place: dict[str, Any]) -> None:
    assert plain.file(EDITS, **ASKED, **place) == changed


def test_line_breaks_inside_a_string_are_let_pass(plain: Model, changed: str) -> None:
    """A shell puts base64 into a body as the program base64 prints it."""
    lines = "\n".join(b64(CIRCLE)[start : start + 76] for start in range(0, len(b64(CIRCLE)), 76))
    body = json.dumps({**ASKED, "file": "LINES"}).replace("LINES", lines)

    response = plain.client.post(GENERATIONS, content=body, headers={"content-type": "application/json"})

    assert file_of(response) == changed


@pytest.mark.parametrize("kind", ["application/octet-stream", "text/plain", "image/jpeg"])
def test_the_type_that_a_client_claims_decides_nothing(plain: Model, changed: str, kind: str) -> None:
    response = plain.client.post(EDITS, files=[*form_parts(ASKED), ("image", ("holiday.txt", as_file(CIRCLE), kind))])

    assert file_of(response) == changed


@pytest.mark.parametrize("file_format", ["WEBP", "GIF", "JPEG"])
def test_formats_are_told_by_content(plain: Model, changed: str, file_format: str) -> None:
    lossless: dict[str, Any] = {"lossless": True} if file_format == "WEBP" else {}
    file = as_file(CIRCLE, file_format, **lossless)

    drawn = file_of(plain.post_form(EDITS, [*form_parts(ASKED), ("image[]", ("a.png", file))]))

    assert (drawn == changed) == (file_format != "JPEG")
    assert np.abs(pixels(drawn) - pixels(changed)).mean() < 5


def test_a_form_may_hold_a_large_picture_as_text(plain: Model) -> None:
    """More than the megabyte at which many servers stop reading a field that is no file."""
    large = Image.effect_noise((1400, 1400), 80)
    assert len(b64(large)) > 2**21

    drawn = file_of(plain.post_form(EDITS, [*form_parts({**ASKED, "image": b64(large)})]))

    assert drawn == plain.file(EDITS, **ASKED, image=b64(large))


def test_a_body_may_come_in_chunks(plain: Model, changed: str) -> None:
    """Without a Content-Length, as Node sends the stream of a file."""
    request = plain.client.build_request("POST", EDITS, files=[*form_parts(ASKED), ("image", ("a", as_file(CIRCLE)))])
    body = request.read()
    halves = iter((body[: len(body) // 2], body[len(body) // 2 :]))

    response = plain.client.post(EDITS, content=halves, headers={"content-type": request.headers["content-type"]})

    assert "content-length" not in response.request.headers
    assert file_of(response) == changed


@pytest.mark.parametrize(
    "mask",
    [
        white_box(),
        white_box().convert("RGB"),
        white_box().convert("RGBA"),
        white_box().resize((64, 64), Image.Resampling.NEAREST),
        white_box().resize((256, 256), Image.Resampling.NEAREST),
        with_hole(CIRCLE),
        with_hole(Image.new("RGB", (128, 128), "black")),
    ],
    ids=["white", "white in RGB", "white in RGBA", "white, half as large", "white, twice", "hole", "hole in black"],
)
def test_masks_of_every_kind_say_the_same(plain: Model, painted: str, mask: Image.Image) -> None:
    parts: list[tuple[str, Part]] = [("image", ("a.png", as_file(CIRCLE))), ("mask", ("b.png", as_file(mask)))]

    assert plain.file(EDITS, **ASKED, image=b64(CIRCLE), mask=b64(mask)) == painted
    assert file_of(plain.post_form("/v1-openai/image/edit", [*form_parts(ASKED), *parts])) == painted


def test_a_mask_may_be_an_object_too(plain: Model, painted: str) -> None:
    mask = {"image_url": f"data:image/png;base64,{b64(white_box())}"}

    assert plain.file(EDITS, **ASKED, images=[{"image_url": DATA_URL}], mask=mask) == painted


def test_a_hole_in_the_picture_is_a_mask(plain: Model) -> None:
    asked = {**ASKED, "size": "128x128", "image": b64(with_hole(CIRCLE))}
    outside = np.asarray(white_box()) == 0

    drawn = plain.file(EDITS, **asked)

    assert (pixels(drawn)[outside] == np.asarray(CIRCLE, dtype=int)[outside]).all()
    assert (pixels(drawn)[~outside] != np.asarray(CIRCLE, dtype=int)[~outside]).any()
    assert plain.file("/v1/images/inpainting", **asked) == drawn
    assert plain.file(GENERATIONS, **asked) != drawn
    assert refusal(plain.post("/v1/images/inpainting", **ASKED, image=b64(CIRCLE)))["param"] == "mask"


def test_more_pictures_than_the_model_uses_are_refused(engine: EngineName, plain: Model) -> None:
    most = MOST_PICTURES.of(engine)
    parts: list[tuple[str, Part]] = [("image[]", ("a.png", as_file(CIRCLE)))] * (most + 1)
    for response in (
        plain.post_form(EDITS, [*form_parts(ASKED), *parts]),
        plain.post(EDITS, **ASKED, image=[b64(CIRCLE)] * (most + 1)),
        plain.post(EDITS, **ASKED, image=b64(CIRCLE), ref_images=[b64(CIRCLE)] * most),
    ):
        error = refusal(response)
        assert (error["param"], error["code"]) == ("image", "unsupported")
        assert f"uses {most} of {most + 1} pictures" in error["message"]


@pytest.mark.parametrize(
    "fields",
    [{"file": "URL"}, {"image": ["URL"]}, {"ref_images": ["URL"]}, {"images": [{"image_url": "URL"}]}],
    ids=lambda fields: next(iter(fields)),
)
def test_the_gateway_fetches_a_picture_by_url(plain: Model, picture_host: Peer, fields: dict[str, Any]) -> None:
    """LocalAI's examples have URLs with queries."""
    url = f"{picture_host.endpoint.url}/a/b.png?download=true&x=%20"
    fetched, inline = (json.loads(json.dumps(fields).replace("URL", place)) for place in (url, DATA_URL))

    assert plain.file(GENERATIONS, **ASKED, **fetched) == plain.file(GENERATIONS, **ASKED, **inline)


def test_a_form_may_name_a_url_as_well(plain: Model, picture_host: Peer, changed: str, painted: str) -> None:
    url = f"{picture_host.endpoint.url}/a.png"
    mask: tuple[str, Part] = ("mask", ("b.png", as_file(white_box())))

    assert file_of(plain.post_form(EDITS, form_parts({**ASKED, "image": url}))) == changed
    assert file_of(plain.post_form(EDITS, [*form_parts({**ASKED, "image": url}), mask])) == painted


def test_a_url_of_another_host_is_refused(plain: Model) -> None:
    error = refusal(plain.post(EDITS, **ASKED, image="http://pictures.example/a.png"))

    assert (error["param"], error["code"]) == ("image", "image_url_not_allowed")


@pytest.mark.parametrize("path", ["/v1/images/variations", "/images/variations"])
def test_a_variation_needs_no_prompt(plain: Model, path: str) -> None:
    asked = {name: value for name, value in ASKED.items() if name != "prompt"}

    drawn = file_of(plain.post_form(path, [*form_parts(asked), ("image", ("a.png", as_file(CIRCLE)))]))

    assert drawn == plain.file(path, **asked, image=b64(CIRCLE))


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({}, "image", "missing_required_parameter"),
        ({"image": None}, "image", "missing_required_parameter"),
        ({"image": ""}, "image", "missing_required_parameter"),
        ({"image": "no base64!"}, "image", "invalid_image"),
        ({"init_images": [b64(CIRCLE)[:200]]}, "init_images", "invalid_image"),
        ({"image": b64(CIRCLE), "mask": "no base64!"}, "mask", "invalid_image"),
        ({"image": b64(CIRCLE), "mask": b64(Image.new("L", (8, 8)))}, "mask", "invalid_value"),
        ({"images": [{"file_id": "file_1"}]}, "images", "unsupported"),
        ({"image": 7}, "image", "invalid_value"),
    ],
    ids=str,
)
def test_what_is_no_picture_is_refused(plain: Model, fields: dict[str, Any], param: str, code: str) -> None:
    error = refusal(plain.post(EDITS, **ASKED, **fields))

    assert (error["param"], error["code"]) == (param, code)
    assert error["message"].startswith(f"{param}: ")
