"""AUTOMATIC1111's API: its tools get the same pictures under its names.

Over diffusers alone: the gateway turns these requests into those that the other tests send over both engines.
"""

import json
from typing import Any

import pytest
from PIL import Image, ImageOps

from contract.models import only_diffusers
from contract.stack import EDITS, Model, decoded, refusal, succeeded
from pictures import draw
from runtime.picture_files import b64

pytestmark = only_diffusers

CIRCLE = b64(draw("red", "circle", "white", size=32))
MASK = Image.new("L", (32, 32))
MASK.paste(255, (0, 0, 16, 32))
ASKED: dict[str, Any] = {
    "prompt": "a blue star", "negative_prompt": "red", "sampler_name": "DPM++ 2M", "scheduler": "Karras", "steps": 3,
    "cfg_scale": 5, "width": 48, "height": 32, "seed": 7, "clip_skip": 2,
}  # fmt: skip
SAME: dict[str, Any] = {
    "prompt": "a blue star", "negative_prompt": "red", "sampler": "dpmpp_2m", "schedule": "karras", "steps": 3,
    "guidance_scale": 5, "size": "48x32", "seed": 7, "clip_skip": 1,
}  # fmt: skip


def ask(model: Model, path: str, **fields: Any) -> Any:
    return succeeded(model.client.post(f"/sdapi/v1/{path}", json=fields)).json()


def test_text_to_image(plain: Model) -> None:
    answer = ask(plain, "txt2img", **ASKED)
    info = json.loads(answer["info"])

    assert answer["images"] == [plain.file(**SAME)]
    assert answer["parameters"] == ASKED
    assert (info["seed"], info["all_seeds"], info["width"], info["height"]) == (7, [7], 48, 32)


def test_image_to_image(plain: Model) -> None:
    changed, painted = (
        ask(plain, "img2img", **ASKED, init_images=[picture], denoising_strength=0.7, **mask)
        for picture, mask in ((CIRCLE, {}), (f"data:image/png;base64,{CIRCLE}", {"mask": b64(MASK)}))
    )

    assert changed["images"] == [plain.file(EDITS, **SAME, image=CIRCLE, strength=0.7)]
    assert painted["images"] == [plain.file(EDITS, **SAME, image=CIRCLE, strength=0.7, mask=b64(MASK))]
    assert changed["images"] != painted["images"]


def test_what_is_painted_on_a_transparent_ground_is_drawn_anew(plain: Model) -> None:
    """As AUTOMATIC1111 reads a mask; OpenAI's rule is the other way round."""
    strokes = Image.new("L", MASK.size, 255)
    strokes.putalpha(MASK)
    painted, same = (
        ask(plain, "img2img", **ASKED, init_images=[CIRCLE], mask=b64(mask))["images"] for mask in (strokes, MASK)
    )

    assert painted == same


@pytest.mark.parametrize(("side", "size"), [("width", (48, 512)), ("height", (512, 48))])
def test_a_side_alone_comes_with_512(plain: Model, side: str, size: tuple[int, int]) -> None:
    info = json.loads(ask(plain, "txt2img", prompt="a blue star", steps=1, **{side: 48})["info"])

    assert (info["width"], info["height"]) == size


@pytest.mark.parametrize(
    ("fields", "count"), [({"batch_size": 2}, 2), ({"n_iter": 2}, 2), ({"n_iter": 2, "batch_size": 2}, 4)]
)
def test_as_many_as_its_two_numbers_say(plain: Model, fields: dict[str, int], count: int) -> None:
    answer = ask(plain, "txt2img", **ASKED, **fields)

    assert len(answer["images"]) == count
    assert json.loads(answer["info"])["all_seeds"] == list(range(7, 7 + count))
    assert answer["images"][0] != answer["images"][1]


@pytest.mark.parametrize("seed", [-1, None])
def test_minus_one_is_a_random_seed(plain: Model, seed: int | None) -> None:
    """Its clients send -1 for as it comes."""
    (first,), (other,) = (
        json.loads(ask(plain, "txt2img", **{**ASKED, "seed": seed})["info"])["all_seeds"] for _ in range(2)
    )

    assert (first == other) == (seed is None)


def test_the_layer_to_stop_at_counts_from_one(plain: Model) -> None:
    """Under both names; 1, which skips none, is what clients send as they come."""
    (same,), (skipping,) = (
        ask(plain, "txt2img", **{**ASKED, "clip_skip": None}, override_settings={"CLIP_stop_at_last_layers": layer})[
            "images"
        ]
        for layer in (1, 2)
    )

    assert same == plain.file(**{**SAME, "clip_skip": 0})
    assert skipping == plain.file(**SAME)
    assert same != skipping


def test_an_inverted_mask_says_what_to_keep(plain: Model) -> None:
    other = b64(ImageOps.invert(MASK))
    asked = {**ASKED, "init_images": [CIRCLE], "denoising_strength": 0.7}

    plainly, inverted = (
        ask(plain, "img2img", **asked, mask=mask, inpainting_mask_invert=invert)["images"]
        for mask, invert in ((b64(MASK), 0), (other, 1))
    )

    assert plainly == inverted


def test_settings_may_stand_in_the_prompt(plain: Model) -> None:
    """As stable-diffusion.cpp's server reads them, here and on OpenAI's paths."""
    settings = {
        "seed": 7, "width": 48, "height": 32, "negative_prompt": "red", "clip_skip": 2,
        "sample_params": {
            "sample_steps": 3, "sample_method": "dpm++2m", "scheduler": "karras", "guidance": {"txt_cfg": 5},
        },
    }  # fmt: skip
    prompt = f"a blue star <sd_cpp_extra_args>{json.dumps(settings)}</sd_cpp_extra_args>"

    assert plain.file(prompt=prompt, size="512x512") == plain.file(**SAME)
    answer = ask(plain, "txt2img", prompt=prompt, steps=20, cfg_scale=7, seed=-1)
    assert answer["images"] == [plain.file(**SAME)]
    assert json.loads(answer["info"])["prompt"] == "a blue star"


def test_the_samplers_that_it_lists_are_those_of_the_model(plain: Model) -> None:
    names = [sampler["name"] for sampler in plain.client.get("/sdapi/v1/samplers").json()]
    assert {"Euler a", "DPM++ 2M"} <= set(names)

    for name in names:
        answer = ask(plain, "txt2img", **{**ASKED, "sampler_name": name, "scheduler": None, "steps": 1})
        assert decoded({"b64_json": answer["images"][0]}).size == (48, 32)


def test_a_request_may_name_its_model(plain: Model) -> None:
    overrides = {"sd_model_checkpoint": "plain"}

    assert ask(plain, "txt2img", **ASKED, override_settings=overrides)["images"] == [plain.file(**SAME)]
    refused = plain.client.post("/sdapi/v1/txt2img", json={**ASKED, "override_settings": {"sd_model_checkpoint": "x"}})
    assert refusal(refused, 404)["code"] == "model_not_found"
