"""Every path that draws: what goes to a runtime, and how its answer comes back."""

import json
from typing import Any

import httpx
import openai
import pytest

from gateway.answers import CLIP, OTHER, PICTURE, b64, broken_events, chunk, entry, events, images
from gateway.peers import Peer, answer
from gateway.picture_hosts import PNG, PictureHost, picture
from gateway.running import Gateway, StartGateway
from heliograph_api.images.paths import IMAGE_PATHS

PATH = "/v1/images/generations"
DONE = b"data: [DONE]\n\n"


def post(gateway: Gateway, path: str = PATH, **body: Any) -> httpx.Response:
    return gateway.client.post(path, json={"model": "tiny", "prompt": "a circle", **body})


@pytest.mark.parametrize("path", IMAGE_PATHS)
def test_every_path_reaches_the_same_path_of_a_runtime(start_gateway: StartGateway, path: str) -> None:
    with Peer(images(entry(PICTURE))) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint])
        response = gateway.client.post(path, data={"prompt": "a"}, files={"image": PNG})
        assert response.status_code == 200, response.text
        assert response.json()["data"] == [entry(PICTURE)]
    (received,) = peer.requests
    assert received.line == f"POST {path} HTTP/1.1"
    assert received.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert PNG in received.body


@pytest.mark.parametrize(
    ("body", "setting", "keys"),
    [
        ({}, None, {"b64_json", "url", "seed"}),
        ({"response_format": "url"}, None, {"url", "seed"}),
        ({"response_format": "b64_json"}, "url", {"b64_json", "seed"}),
        ({}, "url", {"url", "seed"}),
        ({"model": "gpt-image-1"}, "url", {"b64_json", "seed"}),
        ({"model": "dall-e-3"}, "b64_json", {"url", "seed"}),
    ],
)
def test_pictures_come_back_as_they_are_wanted(
    start_gateway: StartGateway, body: dict[str, Any], setting: str | None, keys: set[str]
) -> None:
    with Peer(images(entry(PICTURE), entry(OTHER, seed=8))) as peer:
        tiny = {"serving": {"aliases": ["gpt-image-1", "dall-e-3"]}}
        gateway = start_gateway(endpoints=[peer.endpoint], tiny=tiny, response_format=setting)
        response = post(gateway, **body)
        assert response.status_code == 200, response.text
        data = response.json()["data"]
        assert [item.keys() for item in data] == [keys, keys]
        assert [item["seed"] for item in data] == [7, 8]
        for item, content in zip(data, (PICTURE, OTHER), strict=True):
            assert item.get("b64_json", b64(content)) == b64(content)
            if "url" in item:
                assert item["url"].startswith(f"{gateway.url}/v1/files/download/")
                kept = httpx.get(item["url"], trust_env=False)
                assert (kept.content, kept.headers["content-type"]) == (content, "image/png")
                assert httpx.URL(item["url"]).path.endswith(".png")


def test_a_link_needs_no_key(start_gateway: StartGateway) -> None:
    with Peer(images(entry(PICTURE))) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint], api_key="key", response_format="url")
        headers = {"authorization": "Bearer key"}
        response = gateway.client.post(PATH, json={"prompt": "a"}, headers=headers)
        assert httpx.get(response.json()["data"][0]["url"], trust_env=False).content == PICTURE


@pytest.mark.parametrize(("file_format", "media_type"), [("jpeg", "image/jpeg"), ("webp", "image/webp")])
def test_a_link_has_the_type_of_its_picture(start_gateway: StartGateway, file_format: str, media_type: str) -> None:
    with Peer(images(entry(PICTURE), output_format=file_format)) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint], response_format="url")
        url = post(gateway, output_format=file_format).json()["data"][0]["url"]
        assert httpx.URL(url).path.endswith(f".{file_format}")
        assert httpx.get(url, trust_env=False).headers["content-type"] == media_type


def test_a_clip_has_a_link_of_its_own_type(start_gateway: StartGateway) -> None:
    with Peer(images(entry(CLIP, mime_type="video/mp4"), output_format="mp4")) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint], response_format="both")
        (item,) = post(gateway, "/video").json()["data"]
        assert httpx.URL(item["url"]).path.endswith(".mp4")
        assert httpx.get(item["url"], trust_env=False).headers["content-type"] == "video/mp4"


@pytest.mark.parametrize("body", [b"{}", b"[]", b"pictures", b'{"data": [{}], "output_format": "png"}'])
def test_an_answer_without_pictures_is_an_error(start_gateway: StartGateway, body: bytes) -> None:
    with Peer(answer(200, body)) as peer:
        response = post(start_gateway(endpoints=[peer.endpoint], response_format="url"))
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_error")
    assert response.headers["x-should-retry"] == "false"


def test_a_store_that_is_full_is_an_error(start_gateway: StartGateway) -> None:
    with Peer(images(entry(PICTURE))) as peer:
        response = post(start_gateway(endpoints=[peer.endpoint], response_format="url", max_stored_bytes=1))
    assert (response.status_code, response.json()["error"]["code"]) == (507, "storage_full")


def test_events_pass_as_they_come(start_gateway: StartGateway) -> None:
    sent = [b": image 0 step 1/2\n\n", b'event: x\ndata: {"type": "x"}\n\n']
    with Peer(events(sent)) as peer:
        response = post(start_gateway(endpoints=[peer.endpoint], response_format="url"), stream=True)
    assert response.headers["content-type"] == "text/event-stream"
    assert response.content == b"".join(sent)


def test_events_that_break_off_end_with_an_error(start_gateway: StartGateway) -> None:
    with Peer(broken_events(b": image 0 step 1/2\n\n", b"event: hal")) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint])
        response = post(gateway, stream=True)
        first, last, rest = response.text.split("\n\n")
        assert (first, rest) == (": image 0 step 1/2", "")
        assert last.startswith("event: error\ndata: ")
        assert json.loads(last.partition("data: ")[2])["error"]["code"] == "upstream_failed"
        client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0)
        with client, pytest.raises(openai.APIError, match="failed at the request"):
            list(client.images.generate(model="tiny", prompt="a", stream=True))


def test_an_error_before_the_first_event_has_its_status(start_gateway: StartGateway) -> None:
    error = {"error": {"message": "No.", "type": "invalid_request_error", "param": "steps", "code": "invalid_value"}}
    with Peer(answer(400, error)) as peer:
        response = post(start_gateway(endpoints=[peer.endpoint]), stream=True)
    assert (response.status_code, response.json()) == (400, error)


def test_the_last_chunk_of_a_picture_gets_its_link(start_gateway: StartGateway) -> None:
    half = b64(PICTURE)[:12], b64(PICTURE)[12:]
    sent = [
        chunk(50.0),
        chunk(60.0, b64_json="preview"),
        chunk(100.0, b64_json=half[0]),
        chunk(100.0, b64_json=half[1], finish_reason="stop", seed=7),
        DONE,
    ]
    with Peer(events(sent)) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint])
        response = post(gateway, "/v1-openai/image/generate", stream=True, response_format="url")
        blocks = response.content.split(b"\n\n")
        assert blocks[:2] == [block.strip() for block in sent[:2]]
        assert blocks[3:] == [b"data: [DONE]", b""]
        (item,) = json.loads(blocks[2].removeprefix(b"data: "))["data"]
        assert item.keys() == {"index", "object", "progress", "finish_reason", "seed", "url"}
        assert httpx.get(item["url"], trust_env=False).content == PICTURE


def test_a_picture_by_url_reaches_the_runtime_inline(start_gateway: StartGateway) -> None:
    with Peer(images(entry(PICTURE))) as peer, PictureHost(picture) as host:
        gateway = start_gateway(endpoints=[peer.endpoint], image_url_private_hosts=f"127.0.0.1:{host.port}")
        url = host.url()
        assert post(gateway, "/v1/images/edits", prompt=url, image=[url], ref_images=url).status_code == 200
        form = gateway.client.post(
            "/v1/images/edits", files={"prompt": (None, "a"), "image": (None, url), "n": (None, "1")}
        )
        assert form.status_code == 200
    assert host.connections == 2
    first, second = (json.loads(received.body) for received in peer.requests)
    assert first == {"model": "tiny", "prompt": url, "image": [b64(PNG)], "ref_images": b64(PNG)}
    assert second == {"prompt": "a", "image": b64(PNG), "n": "1"}
    assert {received.headers["content-type"] for received in peer.requests} == {"application/json"}


def test_a_picture_by_url_is_fetched_from_allowed_hosts_alone(start_gateway: StartGateway) -> None:
    with Peer(images(entry(PICTURE))) as peer, PictureHost(picture) as host:
        response = post(start_gateway(endpoints=[peer.endpoint]), file=host.url())
    assert (response.status_code, response.json()["error"]["param"]) == (400, "file")
    assert response.json()["error"]["code"] == "image_url_not_allowed"
    assert (host.connections, peer.requests) == (0, [])


def test_the_model_is_asked_what_it_allows_before_anything_is_fetched(start_gateway: StartGateway) -> None:
    tiny = {"diffusers": {"enable_parameters": "negative_prompt"}}
    with PictureHost(picture) as host:
        gateway = start_gateway(tiny=tiny, image_url_private_hosts=f"127.0.0.1:{host.port}")
        response = post(gateway, image=host.url())
    assert (response.status_code, response.json()["error"]["param"]) == (400, "image")
    assert host.connections == 0


def test_fields_that_are_unknown_are_counted(start_gateway: StartGateway) -> None:
    with Peer(images(entry(PICTURE))) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint])
        assert post(gateway, zebra=1, apple=2, style="vivid").status_code == 200
        gateway.expect_metric(2, "heliograph_gateway_ignored_fields_total", model="tiny")


def test_what_the_api_is_like_can_be_read(start_gateway: StartGateway) -> None:
    client = start_gateway(api_key="key").client
    schema = client.get("/openapi.json").json()
    assert set(IMAGE_PATHS) <= schema["paths"].keys()
    content = schema["paths"]["/v1/images/edits"]["post"]["requestBody"]["content"]
    assert content["multipart/form-data"]["schema"]["properties"]["mask"]["format"] == "binary"
    assert content["application/json"]["schema"]["required"] == ["image"]
    page = client.get("/docs")
    assert page.status_code == 200
    assert "https://" not in page.text
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert f"/docs/static/{asset}" in page.text
        assert client.get(f"/docs/static/{asset}").status_code == 200
