"""Settings as JSON in a prompt, as stable-diffusion.cpp's server documents them."""

import base64
import json
from typing import Any

import pytest

from heliograph_api.errors import APIError
from heliograph_api.images.extra_args import without_block
from heliograph_api.images.request import ImageRequest, parse_image_request

PROMPT = "a red circle"
PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
PATH = "/v1/images/generations"

DOCUMENTED: dict[str, Any] = {
    "negative_prompt": "", "clip_skip": -1, "width": 1024, "height": 512, "strength": 0.75, "seed": -1,
    "batch_count": 2, "auto_resize_ref_image": True, "control_strength": 0.9,
    "init_image": None, "ref_images": [], "mask_image": None, "control_image": None, "ip_adapter_image": None,
    "sample_params": {
        "scheduler": "discrete", "sample_method": "euler_a", "sample_steps": 28, "eta": 1.0, "custom_sigmas": [],
        "guidance": {"txt_cfg": 7.0, "distilled_guidance": 3.5, "slg": {"layers": [7, 8], "scale": 0.0}},
    },
    "lora": [],
    "hires": {"enabled": False, "upscaler": "Latent"},
    "vae_tiling_params": {"enabled": False},
    "output_format": "png", "output_compression": 100,
}  # fmt: skip
"""The request of that server's own documentation, abridged."""


def block(settings: Any) -> str:
    return f"<sd_cpp_extra_args>{json.dumps(settings)}</sd_cpp_extra_args>"


def read(settings: Any, /, **fields: Any) -> ImageRequest:
    return parse_image_request({"prompt": f"{PROMPT} {block(settings)}", **fields}, path=PATH)


def plain(**fields: Any) -> ImageRequest:
    return parse_image_request({"prompt": PROMPT, **fields}, path=PATH)


def refusal(prompt: Any) -> APIError:
    with pytest.raises(APIError) as caught:
        parse_image_request({"prompt": prompt}, path=PATH)
    assert caught.value.status == 400
    return caught.value


@pytest.mark.parametrize(
    ("settings", "fields"),
    [
        ({}, {}),
        ({"seed": 7, "negative_prompt": "blur"}, {"seed": 7, "negative_prompt": "blur"}),
        ({"prompt": "a blue star"}, {"prompt": "a blue star"}),
        ({"width": 640, "height": 480, "batch_count": 3}, {"width": 640, "height": 480, "n": 3}),
        ({"width": -1, "height": 0}, {}),
        ({"clip_skip": -1}, {}),
        ({"clip_skip": 2}, {"clip_skip": 1}),
        ({"strength": 0.4, "init_image": PICTURE}, {"strength": 0.4, "image": PICTURE}),
        ({"init_image": PICTURE, "mask_image": PICTURE}, {"image": PICTURE, "mask": PICTURE}),
        ({"ref_images": [PICTURE, f"data:image/png;base64,{PICTURE}"]}, {"ref_images": [PICTURE, PICTURE]}),
        (
            {"control_image": PICTURE, "control_strength": 0.5},
            {"control_image": PICTURE, "control_strength": 0.5},
        ),
        ({"init_image": PICTURE, "end_image": PICTURE}, {"image": PICTURE, "last_image": PICTURE}),
        ({"video_frames": 9, "fps": 8}, {"num_frames": 9, "fps": 8}),
        ({"lora": [{"path": "style.safetensors", "multiplier": 0.5}, {"path": "other", "is_high_noise": False}]},
         {"loras": [{"id": "style.safetensors", "scale": 0.5}, {"id": "other"}]}),
        ({"output_format": "jpeg", "output_compression": 60}, {"output_format": "jpeg", "output_compression": 60}),
        ({"sample_params": {"sample_steps": 9, "sample_method": "dpm++2m", "scheduler": "karras"}},
         {"steps": 9, "sampler": "dpmpp_2m", "schedule": "karras"}),
        ({"sample_params": {"guidance": {"txt_cfg": 5, "distilled_guidance": 2.5}}},
         {"guidance_scale": 5, "guidance": 2.5}),
    ],
    ids=str,
)  # fmt: skip
def test_a_setting_is_the_field_that_it_stands_for(settings: dict[str, Any], fields: dict[str, Any]) -> None:
    assert read(settings) == plain(**fields)


def test_what_that_server_documents() -> None:
    request = read(DOCUMENTED)
    same = plain(
        width=1024, height=512, strength=0.75, seed=-1, n=2, control_strength=0.9, steps=28, sampler="euler_a",
        schedule="discrete", guidance_scale=7, guidance=3.5, output_format="png", output_compression=100,
    )  # fmt: skip
    assert {**vars(request), "ignored": ()} == vars(same)
    assert request.ignored == tuple(
        f"sd_cpp_extra_args.{name}"
        for name in (
            "auto_resize_ref_image", "hires.enabled", "hires.upscaler", "sample_params.eta",
            "sample_params.guidance.slg.layers", "sample_params.guidance.slg.scale", "vae_tiling_params",
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "fields", "result"),
    [
        ({"batch_count": 2}, {"n": 1}, {"n": 2}),
        ({"width": 640, "height": 480}, {"size": "512x512"}, {"size": "640x480"}),
        ({"width": 640}, {"size": "512x256"}, {"size": "640x256"}),
        ({"width": 640}, {"size": "auto", "height": 256}, {"size": "640x256"}),
        ({"sample_params": {"sample_steps": 9}}, {"step": 5, "num_inference_steps": 6}, {"steps": 9}),
        ({"sample_params": {"guidance": {"txt_cfg": 3}}}, {"cfg_scale": 7}, {"cfg_scale": 3}),
        ({"clip_skip": 3}, {"clip_skip": 1}, {"clip_skip": 1}),
        ({"sample_params": {"sample_method": "heun", "scheduler": "karras"}},
         {"sampler_name": "Euler", "scheduler": "simple"}, {"sampler": "euler", "schedule": "simple"}),
        ({"sample_params": {"sample_method": "heun", "scheduler": "karras"}},
         {"sampler_name": "Automatic", "scheduler": "automatic"}, {"sampler": "heun", "schedule": "karras"}),
        ({"lora": [{"path": "a"}]}, {"lora": [{"id": "b"}]}, {"lora": [{"id": "b"}]}),
        ({"strength": 0.2}, {"denoising_strength": 0.5}, {"strength": 0.5}),
    ],
    ids=str,
)  # fmt: skip
def test_which_of_two_wins(settings: dict[str, Any], fields: dict[str, Any], result: dict[str, Any]) -> None:
    assert read(settings, **fields) == plain(**result)


def test_each_of_several_prompts_may_have_it() -> None:
    settings = block({"seed": 7})
    request = parse_image_request({"prompt": [f"a {settings}", f"{settings}b | c", "d"]}, path=PATH)
    assert (request.prompts, request.seed) == (("a", "b | c", "d"), 7)
    assert refusal([f"a {settings}", f"b {block({'seed': 8})}"]).code == "conflicting_fields"


def test_a_prompt_without_it_is_left_as_it_is() -> None:
    for prompt in (" a  cat ", "a </sd_cpp_extra_args>", "a <sd_cpp_extra_args", "<SD_CPP_EXTRA_ARGS>{}"):
        assert parse_image_request({"prompt": prompt}, path=PATH).prompts == (prompt,)
        assert without_block(prompt) == prompt
    assert without_block(f"a {block(DOCUMENTED)} cat") == "a  cat"


def test_a_long_picture_does_not_count_as_prompt() -> None:
    long = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(60_000)).decode()
    assert read({"init_image": long}).images == plain(image=long).images


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"hires": {"enabled": True}}, "hires.enabled"),
        ({"sample_params": {"custom_sigmas": [14, 2, 0]}}, "custom_sigmas"),
        ({"sample_params": {"guidance": {"slg": {"scale": 2.5}}}}, "slg.scale"),
        ({"ip_adapter_image": PICTURE}, "ip_adapter_image"),
        ({"control_frames": [PICTURE]}, "control_frames"),
    ],
)
def test_what_cannot_be_drawn_is_refused(settings: dict[str, Any], name: str) -> None:
    error = refusal(f"a {block(settings)}")
    assert (error.param, error.code) == ("prompt", "unsupported")
    assert error.message.startswith("prompt: sd_cpp_extra_args: ")
    assert f"{name}: " in error.message


@pytest.mark.parametrize("content", ["", " ", "{}"])
def test_an_empty_block_says_nothing(content: str) -> None:
    prompt = f"{PROMPT} <sd_cpp_extra_args>{content}</sd_cpp_extra_args>"
    assert parse_image_request({"prompt": prompt}, path=PATH) == plain()


@pytest.mark.parametrize(
    "prompt",
    [
        "a <sd_cpp_extra_args>{}",
        "a <sd_cpp_extra_args>{</sd_cpp_extra_args>",
        f"a {block([])}",
        f"a <sd_cpp_extra_args>{'[' * 100_000}</sd_cpp_extra_args>",
        f"a <sd_cpp_extra_args>{'9' * 5000}</sd_cpp_extra_args>",
        f"a {block({'init_image': 'http://example.com/a.png'})}",
        f"a {block({'ref_images': [{'image_url': 'http://example.com/a.png'}]})}",
    ],
    ids=lambda prompt: prompt[:80],
)
def test_a_block_that_cannot_be_read_is_refused_by_name(prompt: str) -> None:
    error = refusal(prompt)
    assert error.param == "prompt"
    assert error.message.startswith("prompt: sd_cpp_extra_args: ")


@pytest.mark.parametrize(
    ("settings", "param"),
    [
        ({"sample_params": {"sample_steps": "many"}}, "steps"),
        ({"sample_params": {"sample_method": "zigzag"}}, "sampler"),
        ({"clip_skip": 99}, "clip_skip"),
        ({"width": 5}, "width"),
        ({"init_image": "x"}, "image"),
        ({"lora": [{"path": "style", "is_high_noise": True}]}, "loras"),
        ({"lora": [{"multiplier": 1}]}, "loras"),
        ({"prompt": 5}, "prompt"),
    ],
    ids=str,
)
def test_values_that_cannot_be_used(settings: dict[str, Any], param: str) -> None:
    assert refusal(f"a {block(settings)}").param == param


def test_nothing_but_the_block_is_no_prompt() -> None:
    assert "must not be empty" in refusal(block({"seed": 7})).message
