"""AUTOMATIC1111's API, as SillyTavern and Open WebUI call it."""

import base64
import json
from typing import Any

import pytest

from gateway.answers import OTHER, PICTURE, b64, entry, images
from gateway.manifests import image_model
from gateway.peers import Peer
from gateway.peers import answer as answering
from gateway.picture_hosts import PNG
from gateway.running import StartGateway
from heliograph_api.images.request import parse_image_request
from heliograph_api.sampler_table import SAMPLERS

# What SillyTavern sends for a picture, its unset fields among them.
SILLYTAVERN: dict[str, Any] = {
    "prompt": "a circle", "negative_prompt": "blurry", "sampler_name": "DPM++ 2M Karras", "scheduler": "Karras",
    "steps": 20, "cfg_scale": 7, "width": 512, "height": 768, "restore_faces": False, "enable_hr": False,
    "hr_upscaler": "Latent", "denoising_strength": 0.7, "seed": -1, "clip_skip": 1, "batch_size": 2,
    "override_settings": {"CLIP_stop_at_last_layers": 2}, "override_settings_restore_afterwards": True,
    "do_not_save_grid": True, "save_images": True, "send_images": True,
}  # fmt: skip

B64 = base64.b64encode(PNG).decode()
URL = f"data:image/png;base64,{B64}"

ABLE: dict[str, Any] = {
    "revision": "1", "engine": "sdcpp", "family": "SD 1.x", "operations": ["generate"], "max_images": 4,
    "parameters": {"sampler": {"enum": ["euler", "euler_a"]}, "schedule": {"enum": ["karras"]}},
    "max_pixels": 1048576, "max_references": 0, "control": False, "previews": True, "loras": ["style"], "video": None,
}  # fmt: skip
"""What a model can do, as its replica tells it."""


def test_text_to_image(start_gateway: StartGateway) -> None:
    with Peer(images(entry(PICTURE), entry(OTHER, seed=8))) as peer:
        client = start_gateway(endpoints=[peer.endpoint]).client
        response = client.post("/sdapi/v1/txt2img", json=SILLYTAVERN)
        assert response.status_code == 200, response.text
        answer = response.json()
    assert answer["images"] == [b64(PICTURE), b64(OTHER)]
    assert answer["parameters"] == SILLYTAVERN
    info = json.loads(answer["info"])
    assert (info["seed"], info["all_seeds"], info["width"], info["height"]) == (7, [7, 8], 64, 48)
    assert (info["all_prompts"], info["all_negative_prompts"]) == (["a circle"] * 2, ["blurry"] * 2)
    settings = "Steps: 20, Sampler: DPM++ 2M Karras, Schedule type: Karras, CFG scale: 7, Seed: 8, Size: 64x48"
    assert info["infotexts"][1] == f"a circle\nNegative prompt: blurry\n{settings}"
    (received,) = peer.requests
    assert received.line == "POST /v1/images/generations HTTP/1.1"
    body = json.loads(received.body)
    assert (body["n"], body["clip_skip"], body["seed"], body["steps"]) == (2, 1, -1, 20)


def test_image_to_image(start_gateway: StartGateway) -> None:
    picture = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    body = {"prompt": "a", "init_images": [picture], "mask": picture, "denoising_strength": 0.4}
    unset = {"clip_skip": -1, "enable_hr": False, "inpainting_mask_invert": 0}
    with Peer(images(entry(PICTURE))) as peer:
        client = start_gateway(endpoints=[peer.endpoint]).client
        answer = client.post("/sdapi/v1/img2img", json=body | unset).json()
    assert answer["images"] == [b64(PICTURE)]
    assert answer["parameters"] == {"prompt": "a", "denoising_strength": 0.4} | unset
    (received,) = peer.requests
    assert received.line == "POST /v1/images/edits HTTP/1.1"
    assert json.loads(received.body)["init_images"] == [picture]
    assert "clip_skip" not in json.loads(received.body)


@pytest.mark.parametrize(
    ("fields", "skipped"),
    [
        ({"clip_skip": 1}, 0),
        ({"clip_skip": "2"}, 1),
        ({"override_settings": {"CLIP_stop_at_last_layers": 1}}, 0),
        ({"clip_skip": 1, "override_settings": {"CLIP_stop_at_last_layers": 3}}, 2),
        ({"clip_skip": 0, "override_settings": {"CLIP_stop_at_last_layers": 0}}, None),
    ],
)
def test_clip_skip_is_the_layer_to_stop_at(
    start_gateway: StartGateway, fields: dict[str, Any], skipped: int | None
) -> None:
    with Peer(images(entry(PICTURE))) as peer:
        start_gateway(endpoints=[peer.endpoint]).client.post("/sdapi/v1/txt2img", json={"prompt": "a", **fields})
    (received,) = peer.requests
    assert json.loads(received.body).get("clip_skip") == skipped


def test_an_answer_without_pictures_is_an_error(start_gateway: StartGateway) -> None:
    with Peer(answering(200, {"created": 1})) as peer:
        response = start_gateway(endpoints=[peer.endpoint]).client.post("/sdapi/v1/txt2img", json={"prompt": "a"})
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_error")


def test_the_model_is_chosen_for_all_later_requests(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    gateway.routes.set_model(image_model("another"))
    client = gateway.client
    assert [model["title"] for model in client.get("/sdapi/v1/sd-models").json()] == ["another", "tiny"]
    assert client.get("/sdapi/v1/options").json()["sd_model_checkpoint"] == "another"
    assert client.post("/sdapi/v1/options", json={"sd_model_checkpoint": "tiny", "other": 1}).status_code == 200
    assert client.get("/sdapi/v1/options").json()["sd_model_checkpoint"] == "tiny"
    refused = client.post("/sdapi/v1/txt2img", json={"prompt": "a"})
    assert (refused.status_code, refused.headers["x-heliograph-model"]) == (503, "tiny")
    overrides = {"sd_model_checkpoint": "another"}
    refused = client.post("/sdapi/v1/txt2img", json={"prompt": "a", "override_settings": overrides})
    assert (refused.status_code, refused.headers["x-heliograph-model"]) == (503, "another")
    unknown = client.post("/sdapi/v1/options", json={"sd_model_checkpoint": "nothing"})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")


def test_what_stable_diffusion_cpp_has_beside(start_gateway: StartGateway) -> None:
    """Pictures to refer to, LoRA adapters, an inverted mask, and settings in the prompt."""
    body = {
        "prompt": 'a circle <sd_cpp_extra_args>{"batch_count": 2, "seed": 9}</sd_cpp_extra_args>',
        "extra_images": [B64], "lora": [{"path": "style.safetensors", "multiplier": 0.5, "is_high_noise": False}],
        "alwayson_scripts": {"other": {"args": [True, "some text", {"weight": 1}, {"enabled": False, "image": B64}]}},
    }  # fmt: skip
    with Peer(images(entry(PICTURE), entry(OTHER, seed=8))) as peer:
        client = start_gateway(endpoints=[peer.endpoint]).client
        drawn = client.post("/sdapi/v1/txt2img", json=body)
        changed = client.post("/sdapi/v1/img2img", json={"prompt": "a", "extra_images": [URL]})
        masked = {"prompt": "a", "init_images": [B64], "mask": B64, "inpainting_mask_invert": 1}
        inverted = client.post("/sdapi/v1/img2img", json=masked)
    assert [answer.status_code for answer in (drawn, changed, inverted)] == [200] * 3
    assert json.loads(drawn.json()["info"])["prompt"] == "a circle"
    assert json.loads(drawn.json()["info"])["infotexts"] == [f"a circle\nSeed: {seed}, Size: 64x48" for seed in (7, 8)]
    assert "extra_images" not in drawn.json()["parameters"]
    first, second, third = (json.loads(received.body) for received in peer.requests)
    assert (first["ref_images"], first["lora"]) == (body["extra_images"], body["lora"])
    asked = parse_image_request(first, path="/v1/images/generations")
    assert (asked.n, asked.seed, asked.loras) == (2, 9, (("style.safetensors", 0.5),))
    assert second["ref_images"] == [URL]
    assert (third["invert_mask"], "invert_mask" in first) == (True, False)


def test_what_tools_read_first_is_of_the_model_that_they_chose(start_gateway: StartGateway) -> None:
    with Peer(answering(200, ABLE)) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint])
        gateway.routes.set_model(image_model("another"))
        client = gateway.client

        def names(path: str) -> list[str]:
            return [row["name"] for row in client.get(f"/sdapi/v1/{path}").json()]

        client.post("/sdapi/v1/options", json={"sd_model_checkpoint": "another"})
        served = {row.name for row in SAMPLERS if row.diffusers or row.sdcpp}
        listed = client.get("/sdapi/v1/samplers").json()
        assert {row["aliases"][0] for row in listed} == served, "nobody has told of it yet"
        assert {"Euler a", "DPM++ 2M"} <= {row["name"] for row in listed}
        assert {"karras", "discrete"} <= set(names("schedulers"))
        assert names("loras") == []

        client.post("/sdapi/v1/options", json={"sd_model_checkpoint": "tiny"})
        assert names("samplers") == ["Euler", "Euler a"]
        assert names("schedulers") == ["karras"]
        assert client.get("/sdapi/v1/loras").json() == [{"name": "style", "alias": "style", "path": "style"}]
        gateway.routes.remove_model("default", "tiny")
        assert len(names("samplers")) == len(served), "the model that was chosen is no more"


def test_what_is_the_same_for_every_model(start_gateway: StartGateway) -> None:
    client = start_gateway().client
    assert client.get("/sdapi/v1/options").json()["samples_format"] == "png"
    assert [row["name"] for row in client.get("/sdapi/v1/upscalers").json()] == ["None"]
    assert client.get("/sdapi/v1/latent-upscale-modes").json() == []
    assert client.get("/sdapi/v1/progress").json()["state"] == {"job_count": 0}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("txt2img", [], None),
        ("txt2img", {}, "prompt"),
        ("txt2img", {"prompt": "a", "enable_hr": True}, "enable_hr"),
        ("txt2img", {"prompt": "a", "inpainting_mask_invert": 2}, "inpainting_mask_invert"),
        ("txt2img", {"prompt": "a", "extra_images": ["x"]}, "ref_images"),
        ("txt2img", {"prompt": "a", "lora": [{"path": "style", "is_high_noise": True}]}, "lora"),
        ("txt2img", {"prompt": "a", "lora": [{"multiplier": 1}]}, "lora"),
        (
            "txt2img",
            {"prompt": "a", "alwayson_scripts": {"controlnet": {"args": [{"image": B64}]}}},
            "alwayson_scripts",
        ),
        ("img2img", {"prompt": "a", "alwayson_scripts": {"x": {"args": [URL]}}}, "alwayson_scripts"),
        ("txt2img", {"prompt": "a <sd_cpp_extra_args>{}"}, "prompt"),
        ("txt2img", {"prompt": "a", "batch_size": 0}, "batch_size"),
        ("txt2img", {"prompt": "a", "clip_skip": 26}, "clip_skip"),
        ("txt2img", {"prompt": "a", "sampler_name": "zigzag"}, "sampler_name"),
        ("img2img", {"prompt": "a"}, "init_images"),
        ("img2img", {"prompt": "a", "init_images": ["x"]}, "init_images"),
    ],
)
def test_what_cannot_be_drawn_is_refused(start_gateway: StartGateway, path: str, body: Any, param: str | None) -> None:
    response = start_gateway().client.post(f"/sdapi/v1/{path}", json=body)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)
