"""Pictures that are changed, over HTTP, judged by what they show."""

import base64
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from heliograph_api.images.paths import IMAGE_PATHS
from pictures import Content, classify, draw
from runtime import miniatures
from runtime.conftest import StartRuntime
from runtime.picture_files import as_file, b64, noise
from runtime.runtimes import Runtime, difference, pictures

RED_CIRCLE = draw("red", "circle", "white")
BLUE_CIRCLE = "a blue circle on a white background"
PATHS = [path for path, operation in IMAGE_PATHS.items() if operation != "video"]


def pixels(image: Image.Image) -> NDArray[np.int64]:
    return np.asarray(image.convert("RGB"), dtype=int)


def change(first: Image.Image, second: Image.Image) -> float:
    """Return the mean difference of two pictures."""
    return float(np.abs(pixels(first) - pixels(second)).mean())


def box_mask(box: tuple[int, int, int, int], *, size: int = 128) -> Image.Image:
    """Return a mask that is white inside a box."""
    mask = Image.new("L", (size, size))
    mask.paste(255, box)
    return mask


def erased(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """Return a picture with a transparent box."""
    image = image.convert("RGBA")
    image.paste((0, 0, 0, 0), box)
    return image


def refused(answer: httpx.Response) -> Any:
    assert answer.status_code == 400, answer.text
    return answer.json()["error"]


def test_the_change_grows_with_the_strength(runtime: Runtime) -> None:
    changes = []
    for strength in (0.1, 0.25, 0.4, 0.6):
        edited = [runtime.edit(BLUE_CIRCLE, image=b64(RED_CIRCLE), strength=strength, seed=seed) for seed in (1, 2)]
        changes.append(sum(change(RED_CIRCLE, it) for it in edited))

    assert changes == sorted(changes)
    assert changes[-1] > 4 * changes[0]


def test_a_weak_edit_keeps_what_there_is_and_a_strong_one_follows_the_prompt(runtime: Runtime) -> None:
    weak, strong = (
        runtime.edit(BLUE_CIRCLE, image=b64(RED_CIRCLE), strength=strength, seed=3) for strength in (0.2, 0.75)
    )

    assert classify(weak) == Content("red", "circle", "white")
    assert classify(strong) == Content("blue", "circle", "white")
    assert difference(strong, runtime.edit(BLUE_CIRCLE, image=b64(RED_CIRCLE), seed=3)) == 0


@pytest.mark.parametrize("path", PATHS)
def test_every_path_takes_json_and_forms(runtime: Runtime, path: str) -> None:
    """With whatever each path needs; what comes back is the same both ways."""
    fields = {"prompt": "a blue circle", "seed": 4, "steps": 2}
    mask = box_mask((32, 32, 96, 96))

    json_answer = runtime.post_to(path, json={**fields, "image": b64(RED_CIRCLE), "mask": b64(mask)})
    form_answer = runtime.post_to(
        path,
        data={name: str(value) for name, value in fields.items()},
        files={"image": ("a.png", as_file(RED_CIRCLE)), "mask": ("b.png", as_file(mask))},
    )

    assert (json_answer.status_code, form_answer.status_code) == (200, 200), json_answer.text + form_answer.text
    first, second = (pictures(answer)[0] for answer in (json_answer, form_answer))
    assert difference(first, second) == 0
    assert first.size == ((256, 256) if path.endswith("upscale") else (128, 128))


@pytest.mark.parametrize(
    "image",
    [
        {"image": b64(RED_CIRCLE)},
        {"images": [{"image_url": f"data:image/png;base64,{b64(RED_CIRCLE)}"}]},
        {"file": "\n".join(b64(RED_CIRCLE)[start : start + 76] for start in range(0, len(b64(RED_CIRCLE)), 76))},
        {"init_images": [b64(RED_CIRCLE)]},
        {"ref_images": [b64(RED_CIRCLE)]},
    ],
    ids=lambda image: next(iter(image)),
)
@pytest.mark.parametrize("path", ["/v1/images/generations", "/v1/images/edits"])
def test_a_picture_comes_in_many_ways(runtime: Runtime, path: str, image: dict[str, Any]) -> None:
    edited = runtime.edit("a blue circle", path, steps=4, seed=1, **image)

    assert difference(edited, runtime.edit("a blue circle", image=b64(RED_CIRCLE), steps=4, seed=1)) == 0


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF"])
def test_pictures_are_judged_by_content(runtime: Runtime, file_format: str) -> None:
    """Whatever their name and their type claim."""
    file = as_file(RED_CIRCLE, file_format)
    answer = runtime.post_to(
        "/v1/images/edits",
        data={"prompt": BLUE_CIRCLE, "strength": "0.2", "seed": "3"},
        files={"image[]": ("holiday.txt", file, "text/plain")},
    )

    assert answer.status_code == 200, answer.text
    assert classify(pictures(answer)[0]) == Content("red", "circle", "white")


def test_an_edit_keeps_the_pictures_aspect(runtime: Runtime) -> None:
    wide = RED_CIRCLE.resize((600, 300))

    edited = runtime.post_to("/v1/images/edits", json={"prompt": BLUE_CIRCLE, "image": b64(wide), "steps": 2})
    sized = runtime.edit(BLUE_CIRCLE, image=b64(wide), steps=2, size="64x96")

    assert edited.json()["size"] == "184x88"
    assert pictures(edited)[0].size == (184, 88)
    assert sized.size == (64, 96)


def test_a_variation_needs_no_prompt(runtime: Runtime) -> None:
    answer = runtime.post_to(
        "/v1/images/variations",
        data={"n": "2", "seed": "1", "strength": "0.3"},
        files={"image": as_file(RED_CIRCLE)},
    )

    first, second = pictures(answer)
    assert [item["seed"] for item in answer.json()["data"]] == [1, 2]
    assert difference(first, second) > 0
    assert [classify(it).colour for it in (first, second)] == ["red", "red"]


@pytest.mark.parametrize("path", ["/v1/images/edits", "/v1/images/inpainting", "/v1/images/generations"])
def test_outside_the_mask_nothing_changes_and_inside_the_prompt_is_drawn(runtime: Runtime, path: str) -> None:
    image = noise(128)
    box = (16, 16, 112, 112)
    image.paste("white", box)

    edited = runtime.edit(
        "a blue circle on a white background", path, image=b64(image), mask=b64(box_mask(box)), seed=1
    )

    inside = np.asarray(box_mask(box)) == 255
    assert (pixels(edited)[~inside] == pixels(image)[~inside]).all()
    assert (pixels(edited)[inside] != pixels(image)[inside]).mean() > 0.2
    assert classify(edited.crop((19, 19, 109, 109))).colour == "blue"


def test_an_inverted_mask_says_what_to_keep(runtime: Runtime) -> None:
    box = (32, 32, 96, 96)
    outside = ImageOps.invert(box_mask(box))
    edits = [
        runtime.edit(BLUE_CIRCLE, image=b64(RED_CIRCLE), seed=1, steps=4, **fields)
        for fields in ({"mask": b64(box_mask(box))}, {"mask": b64(outside), "invert_mask": True})
    ]

    assert difference(*edits) == 0


def test_a_model_that_needs_a_mask_edits_all_of_a_picture_without_one(
    tmp_path: Path, start_runtime: StartRuntime
) -> None:
    """GPUStack and OpenAI have the mask as optional."""
    miniatures.save_sd_inpaint(tmp_path / "model")
    painter = start_runtime(
        {"backend": "diffusers", "parameters": {"model": "model"}, "step": 2}, base={}, models_dir=tmp_path
    )
    picture, whole = noise(64), Image.new("L", (64, 64), 255)
    plain, masked, part = (
        painter.edit("a circle", image=b64(picture), seed=1, **fields)
        for fields in ({}, {"mask": b64(whole)}, {"mask": b64(box_mask((0, 0, 32, 64), size=64))})
    )

    assert difference(plain, masked) == 0
    assert difference(plain, part) > 0
    assert (pixels(plain) != pixels(picture)).mean() > 0.5
    for path in ("/v1/images/inpainting", "/v1/images/generations"):
        answer = painter.post_to(path, json={"prompt": "a circle", "image": b64(picture)})
        assert "mask" in refused(answer)["message"], path


def test_masks_of_every_kind_say_the_same(runtime: Runtime) -> None:
    box = (32, 32, 96, 96)
    white = box_mask(box)
    opaque = Image.new("RGBA", (128, 128), "black")
    opaque.paste("white", box)
    masks = [
        white,
        white.resize((64, 64), Image.Resampling.NEAREST),
        opaque,
        erased(RED_CIRCLE, box),
        erased(Image.new("RGB", (128, 128), "black"), box),
    ]

    asked: dict[str, Any] = {"image": b64(RED_CIRCLE), "steps": 4, "seed": 1}
    first, *others = [runtime.edit("a green star", mask=b64(mask), **asked) for mask in masks]

    assert change(first, RED_CIRCLE) > 1
    assert [difference(first, other) for other in others] == [0] * 4


def test_a_transparent_part_is_a_mask_for_an_edit_alone(runtime: Runtime) -> None:
    box = (32, 32, 96, 96)
    image = erased(RED_CIRCLE, box)
    outside = np.asarray(box_mask(box)) == 0

    edited = runtime.edit("a green star", image=b64(image), steps=4, seed=1)
    drawn = runtime.edit("a green star", "/v1/images/generations", image=b64(image), steps=4, seed=1)

    assert (pixels(edited)[outside] == pixels(RED_CIRCLE)[outside]).all()
    assert (pixels(drawn)[outside] != pixels(RED_CIRCLE)[outside]).any()


def test_the_seed_decides_alone_and_in_a_batch(runtime: Runtime) -> None:
    asked: dict[str, Any] = {"prompt": BLUE_CIRCLE, "image": b64(RED_CIRCLE), "steps": 6}
    together = pictures(runtime.post_to("/v1/images/edits", json={**asked, "n": 3, "seed": 5}))
    alone = [pictures(runtime.post_to("/v1/images/edits", json={**asked, "seed": seed}))[0] for seed in (5, 6, 7)]
    again = pictures(runtime.post_to("/v1/images/edits", json={**asked, "seed": 5}))[0]

    assert difference(alone[0], again) == 0
    assert max(map(difference, together, alone)) <= 2
    assert difference(alone[0], alone[1]) > 20


def test_an_enlargement_shows_the_same_and_keeps_the_worker_out_of_it(runtime: Runtime) -> None:
    images = runtime.metric("images_total")

    answer = runtime.post_to("/v1/images/upscale", json={"image": b64(RED_CIRCLE), "scale": 4})

    (picture,) = pictures(answer)
    assert (picture.size, answer.json()["size"]) == ((512, 512), "512x512")
    assert classify(picture.resize((128, 128))) == Content("red", "circle", "white")
    assert runtime.metric("images_total") == images
    assert "seed" not in answer.json()["data"][0]


@pytest.mark.parametrize(
    ("path", "body", "param", "code"),
    [
        ("/v1/images/edits", {"prompt": "a"}, "image", "missing_required_parameter"),
        ("/v1/images/variations", {}, "image", "missing_required_parameter"),
        ("/v1/images/edits", {"image": b64(RED_CIRCLE)}, "prompt", "missing_required_parameter"),
        ("/v1/images/inpainting", {"prompt": "a", "image": b64(RED_CIRCLE)}, "mask", "missing_required_parameter"),
        ("/v1/images/generations", {"prompt": "a", "mask": b64(RED_CIRCLE)}, "image", "missing_required_parameter"),
        ("/v1/images/edits", {"prompt": "a", "image": [b64(RED_CIRCLE)] * 2}, "image", "unsupported"),
        ("/v1/images/edits", {"prompt": "a", "image": "http://127.0.0.1:1/a.png"}, "image", "unsupported"),
        ("/v1/images/edits", {"prompt": "a", "image": b64(RED_CIRCLE), "strength": 0}, "strength", "invalid_value"),
        ("/v1/images/edits", {"prompt": "a", "image": "no base64!"}, "image", "invalid_image"),
        ("/v1/images/edits", {"prompt": "a", "image": base64.b64encode(b"a" * 99).decode()}, "image", "invalid_image"),
        (
            "/v1/images/edits",
            {"prompt": "a", "image": b64(RED_CIRCLE), "mask": b64(Image.new("RGBA", (128, 128), "black"))},
            "mask",
            "invalid_value",
        ),
        ("/v1/images/generations", {"prompt": "a", "control_image": b64(RED_CIRCLE)}, "control_image", "unsupported"),
        ("/video", {"prompt": "a"}, "model", "unsupported"),
        ("/v1/images/generations", {"prompt": "a", "fps": 8}, "fps", "unsupported"),
        ("/v1/images/generations", {"prompt": "a <lora:x:1>"}, "prompt", "invalid_value"),
        ("/v1/images/generations", {"prompt": "a", "loras": [{"id": "x"}]}, "loras", "invalid_value"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(
    runtime: Runtime, path: str, body: dict[str, Any], param: str, code: str
) -> None:
    error = refused(runtime.post_to(path, json=body))

    assert (error["param"], error["code"]) == (param, code)
    assert error["message"].startswith(f"{param}: ")
