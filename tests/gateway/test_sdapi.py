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

# What SillyTavern sends for a picture, its unset fields among them.
SILLYTAVERN: dict[str, Any] = {
    "prompt": "a circle", "negative_prompt": "blurry", "sampler_name": "DPM++ 2M Karras", "scheduler": "Karras",
    "steps": 20, "cfg_scale": 7, "width": 512, "height": 768, "restore_faces": False, "enable_hr": False,
    "hr_upscaler": "Latent", "denoising_strength": 0.7, "seed": -1, "clip_skip": 1, "batch_size": 2,
    "override_settings": {"CLIP_stop_at_last_layers": 2}, "override_settings_restore_afterwards": True,
    "do_not_save_grid": True, "save_images": True, "send_images": True,
}  # fmt: skip


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
    assert client.get("/sdapi/v1/options").json() == {"sd_model_checkpoint": "another"}
    assert client.post("/sdapi/v1/options", json={"sd_model_checkpoint": "tiny", "other": 1}).status_code == 200
    assert client.get("/sdapi/v1/options").json() == {"sd_model_checkpoint": "tiny"}
    refused = client.post("/sdapi/v1/txt2img", json={"prompt": "a"})
    assert (refused.status_code, refused.headers["x-heliograph-model"]) == (503, "tiny")
    overrides = {"sd_model_checkpoint": "another"}
    refused = client.post("/sdapi/v1/txt2img", json={"prompt": "a", "override_settings": overrides})
    assert (refused.status_code, refused.headers["x-heliograph-model"]) == (503, "another")
    unknown = client.post("/sdapi/v1/options", json={"sd_model_checkpoint": "nothing"})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")


def test_samplers_and_schedulers_are_listed_by_their_names(start_gateway: StartGateway) -> None:
    client = start_gateway().client
    names = [sampler["name"] for sampler in client.get("/sdapi/v1/samplers").json()]
    assert {"Euler a", "DPM++ 2M"} <= set(names)
    assert client.get("/sdapi/v1/progress").json()["state"] == {"job_count": 0}
    assert {"karras", "discrete"} <= {schedule["name"] for schedule in client.get("/sdapi/v1/schedulers").json()}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("txt2img", [], None),
        ("txt2img", {}, "prompt"),
        ("txt2img", {"prompt": "a", "enable_hr": True}, "enable_hr"),
        ("txt2img", {"prompt": "a", "inpainting_mask_invert": 1}, "inpainting_mask_invert"),
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
