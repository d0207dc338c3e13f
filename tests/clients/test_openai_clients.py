"""OpenAI's own clients against the whole stack: Python and Node, the current and the previous major version of each."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clients.driven import SDK, Client, ClientError, bytes_of, stream_of
from clients.images import opened
from clients.stack import Stack
from pictures import draw
from runtime.picture_files import as_file

QUICK: dict[str, Any] = {"model": "tiny", "prompt": "a red circle", "size": "64x64"}
EDIT = {"model": "tiny", "prompt": "a blue square"}
STEPS = {"steps": 2}
PICTURE = draw("red", "circle", "white", size=64)


@pytest.fixture
def client(sdk: SDK, stack: Stack) -> Client:
    """A client of the whole stack."""
    return sdk.at(f"{stack.url}/v1")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a picture, a smaller one, and a mask whose right half is to be drawn anew."""
    mask = Image.new("RGBA", (64, 64), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (32, 0, 64, 64))
    for name, image in {"picture": PICTURE, "other": PICTURE.resize((48, 48)), "mask": mask}.items():
        (tmp_path / f"{name}.png").write_bytes(as_file(image))
    return tmp_path


def test_models_are_listed_and_found(client: Client) -> None:
    models = client.call("models.list")
    assert models["object"] == "list"
    listed = {model["id"]: model for model in models["data"]}
    assert {"tiny", "sd", "gpt-image-1", "dall-e-3", "stabilityai/sdxl-turbo"} <= set(listed)
    one = client.call("models.retrieve", "stabilityai/sdxl-turbo")
    assert one["heliograph"].pop("capabilities")["operations"]  # told of one model alone
    assert one == listed["stabilityai/sdxl-turbo"]
    with pytest.raises(ClientError) as caught:
        client.call("models.retrieve", "stabilityai/other")
    error = caught.value
    assert (error.kind, error.code, error.param) == ("NotFoundError", "model_not_found", "model")
    assert "stabilityai/sdxl-turbo" in error.message


def test_pictures_come_inline(client: Client) -> None:
    asked = {**QUICK, "n": 2, "response_format": "b64_json", "extra_body": {**STEPS, "seed": 7}}
    answer = client.call("images.generate", **asked)
    first, second = answer["data"]
    assert [entry["seed"] for entry in (first, second)] == [7, 8]
    assert "url" not in first
    assert (opened(first["b64_json"]).format, opened(first["b64_json"]).size) == ("PNG", (64, 64))
    assert first["b64_json"] != second["b64_json"]
    assert (answer["size"], answer["output_format"], answer["background"]) == ("64x64", "png", "opaque")
    assert answer["usage"]["total_tokens"] == 0
    assert answer["usage"]["input_tokens_details"] == {"text_tokens": 0, "image_tokens": 0}
    assert client.headers["x-request-id"]
    assert client.call("images.generate", **asked)["data"] == answer["data"]


def test_pictures_come_as_links(client: Client, stack: Stack) -> None:
    answer = client.call("images.generate", **QUICK, response_format="url", extra_body=STEPS)
    (entry,) = answer["data"]
    assert "b64_json" not in entry
    picture = stack.download(entry["url"])
    assert picture.headers["content-type"] == "image/png"
    assert picture.url.path.endswith(".png")
    assert Image.open(io.BytesIO(picture.content)).size == (64, 64)


@pytest.mark.parametrize(
    ("model", "held"),
    [("tiny", {"b64_json", "url"}), ("gpt-image-1", {"b64_json"}), ("dall-e-3", {"url"})],
)
def test_the_name_decides_how_pictures_come(client: Client, model: str, held: set[str]) -> None:
    answer = client.call("images.generate", **{**QUICK, "model": model}, extra_body=STEPS)
    (entry,) = answer["data"]
    assert {"b64_json", "url"} & set(entry) == held


def test_every_parameter_of_the_images_api_is_accepted(client: Client) -> None:
    answer = client.call(
        "images.generate",
        **QUICK,
        n=1,
        quality="low",
        background="auto",
        moderation="auto",
        style="vivid",
        user="somebody",
        output_format="webp",
        output_compression=60,
        response_format="b64_json",
        extra_body={**STEPS, "no_such_field": None},
    )
    assert opened(answer["data"][0]["b64_json"]).format == "WEBP"
    assert (answer["output_format"], answer["quality"]) == ("webp", "low")


@pytest.mark.parametrize("sent", [stream_of, bytes_of])
def test_an_edit_with_a_mask_leaves_the_rest_alone(client: Client, files: Path, sent: Any) -> None:
    answer = client.call(
        "images.edit",
        **EDIT,
        image=sent(files / "picture.png"),
        mask=sent(files / "mask.png"),
        size="64x64",
        response_format="b64_json",
        extra_body={**STEPS, "seed": 1},
    )
    before, after = np.asarray(PICTURE), np.asarray(opened(answer["data"][0]["b64_json"]).convert("RGB"))
    # The edge of a mask is soft.
    assert (before[:, :24] == after[:, :24]).all()
    assert (before[:, 40:] != after[:, 40:]).any()


def test_a_list_of_one_picture_is_one_picture(client: Client, files: Path) -> None:
    asked = {
        "model": "tiny",
        "prompt": "a blue square",
        "response_format": "b64_json",
        "extra_body": {**STEPS, "seed": 1},
    }
    picture = stream_of(files / "picture.png")
    alone = client.call("images.edit", **asked, image=picture)["data"]
    assert client.call("images.edit", **asked, image=[picture])["data"] == alone


def test_too_many_pictures_for_a_model_are_refused(client: Client, files: Path) -> None:
    both = [bytes_of(files / "picture.png"), bytes_of(files / "other.png")]
    with pytest.raises(ClientError) as caught:
        client.call("images.edit", **EDIT, image=both, extra_body=STEPS)
    assert (caught.value.kind, caught.value.param) == ("BadRequestError", "image")


def test_null_in_a_form_is_nothing(client: Client, files: Path) -> None:
    answer = client.call(
        "images.edit",
        **EDIT,
        image=bytes_of(files / "picture.png"),
        size="null",
        response_format="b64_json",
        extra_body={**STEPS, "seed": "null", "negative_prompt": "null", "user": "null"},
    )
    # A size that is nothing is the model's own, in the shape of the picture.
    assert opened(answer["data"][0]["b64_json"]).size == (128, 128)


def test_variations(client: Client, files: Path) -> None:
    answer = client.call(
        "images.create_variation",
        model="tiny",
        image=stream_of(files / "picture.png"),
        n=2,
        size="64x64",
        response_format="b64_json",
        extra_body=STEPS,
    )
    first, second = answer["data"]
    assert first["b64_json"] != second["b64_json"]
    assert opened(first["b64_json"]).size == (64, 64)


@pytest.mark.parametrize(
    ("method", "kind", "classes"),
    [
        ("images.generate", "image_generation", ("ImageGenPartialImageEvent", "ImageGenCompletedEvent")),
        ("images.edit", "image_edit", ("ImageEditPartialImageEvent", "ImageEditCompletedEvent")),
    ],
)
def test_a_stream_has_unfinished_pictures_and_then_the_picture(
    client: Client, files: Path, method: str, kind: str, classes: tuple[str, str]
) -> None:
    more = {"image": stream_of(files / "picture.png")} if method == "images.edit" else {}
    asked = {**QUICK, **more, "extra_body": {"steps": 4, "seed": 7}}
    events, error = client.stream(method, **asked, partial_images=2)
    assert error is None
    assert [event["type"] for event in events] == [f"{kind}.partial_image"] * 2 + [f"{kind}.completed"]
    # Only Python's client has classes for events.
    assert {event["class"] for event in events if "class" in event} <= set(classes)
    assert [event["partial_image_index"] for event in events[:-1]] == [0, 1]
    assert {opened(event["b64_json"]).format for event in events} == {"PNG"}
    last = events[-1]
    assert (last["size"], last["output_format"], last["background"]) == ("64x64", "png", "opaque")
    assert {"input_tokens", "output_tokens", "total_tokens", "input_tokens_details"} <= set(last["usage"])
    whole = client.call(method, **asked, response_format="b64_json")
    assert last["b64_json"] == whole["data"][0]["b64_json"]


def test_a_stream_without_unfinished_pictures_is_one_event_for_each_picture(client: Client) -> None:
    events, error = client.stream("images.generate", **QUICK, n=2, extra_body=STEPS)
    assert error is None
    assert [(event["type"], event["index"]) for event in events] == [
        ("image_generation.completed", 0),
        ("image_generation.completed", 1),
    ]


def test_the_chunks_of_gpustack_can_be_asked_for(client: Client) -> None:
    asked = {**STEPS, "stream_format": "image.chunk", "stream_options": {"include_usage": True}}
    events, error = client.stream("images.generate", **QUICK, extra_body=asked)
    assert error is None
    progress = [event["data"][0]["progress"] for event in events]
    assert progress == sorted(progress)
    assert progress[-1] == 100
    assert events[-1]["data"][0]["finish_reason"] == "stop"
    assert events[-1]["usage"]["generation_per_second"] > 0


@pytest.mark.parametrize("way", ["call", "stream"])
def test_what_cannot_be_used_is_a_bad_request(client: Client, way: str) -> None:
    asked = {**QUICK, "size": "-1x5"}
    with pytest.raises(ClientError) as caught:
        getattr(client, way)("images.generate", **asked)
    error = caught.value
    assert (error.kind, error.status, error.param) == ("BadRequestError", 400, "size")
    assert error.type == "invalid_request_error"
    assert "size: " in error.message
    assert error.request_id


def test_a_file_that_is_no_picture_is_a_bad_request(client: Client, files: Path) -> None:
    (files / "picture.png").write_text("no picture")
    with pytest.raises(ClientError) as caught:
        client.call("images.edit", **EDIT, image=stream_of(files / "picture.png"))
    error = caught.value
    assert (error.kind, error.code, error.param) == ("BadRequestError", "invalid_image", "image")


@pytest.mark.parametrize("way", ["call", "stream"])
def test_a_model_that_is_not_there_is_not_found(client: Client, way: str) -> None:
    asked = {**QUICK, "model": "other"}
    with pytest.raises(ClientError) as caught:
        getattr(client, way)("images.generate", **asked)
    error = caught.value
    assert (error.kind, error.code, error.param) == ("NotFoundError", "model_not_found", "model")
    assert "tiny" in error.message


@pytest.mark.parametrize("base", ["", "/v1", "/v1-openai"])
def test_each_base_url_in_use(sdk: SDK, stack: Stack, base: str) -> None:
    client = sdk.at(f"{stack.url}{base}")
    assert client.call("models.list")["data"]
    answer = client.call("images.generate", **QUICK, response_format="b64_json", extra_body=STEPS)
    assert opened(answer["data"][0]["b64_json"]).size == (64, 64)
