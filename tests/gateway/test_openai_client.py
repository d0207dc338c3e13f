"""The gateway as OpenAI's Python client sees it."""

import openai
import pytest

from gateway.manifests import image_model
from gateway.peers import Peer, answer
from gateway.running import ConnectClient, StartGateway

IMAGES = {"created": 1, "data": [{"b64_json": "AAAA"}]}


def test_models_are_listed_and_found(start_gateway: StartGateway, connect: ConnectClient) -> None:
    gateway = start_gateway(tiny={"name": "stabilityai/sdxl-turbo"})
    client = connect(gateway.url)
    (model,) = client.models.list()
    assert (model.id, model.object, model.owned_by) == ("stabilityai/sdxl-turbo", "model", "default")
    one = client.models.retrieve("stabilityai/sdxl-turbo")
    assert (one.id, one.created, one.owned_by) == (model.id, model.created, model.owned_by)
    assert client.models.retrieve("default/tiny").created == model.created
    for prefix in ("/v1-openai", ""):
        found = gateway.client.get(f"{prefix}/models/stabilityai%2Fsdxl-turbo")
        assert found.json() == one.to_dict()
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("stabilityai/other")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert "stabilityai/sdxl-turbo" in caught.value.message


def test_an_image_comes_back(start_gateway: StartGateway, connect: ConnectClient) -> None:
    with Peer(answer(200, IMAGES)) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint])
        response = connect(gateway.url).images.with_raw_response.generate(model="tiny", prompt="a circle", n=1)
        images = response.parse()
    assert images.data
    assert images.data[0].b64_json == "AAAA"
    assert response.headers["x-request-id"] == peer.requests[0].headers["x-request-id"]


def test_errors_become_the_exceptions_of_the_client(start_gateway: StartGateway, connect: ConnectClient) -> None:
    gateway = start_gateway()
    gateway.routes.set_model(image_model("off", disabled=True))
    images = connect(gateway.url).images
    with pytest.raises(openai.NotFoundError) as not_found:
        images.generate(model="other", prompt="a circle")
    assert not_found.value.code == "model_not_found"
    assert not_found.value.type == "invalid_request_error"
    with pytest.raises(openai.PermissionDeniedError) as denied:
        images.generate(model="off", prompt="a circle")
    assert denied.value.code == "model_disabled"
    with pytest.raises(openai.BadRequestError) as bad:
        images.generate(model="tiny", prompt="a circle", size="-1x5")
    assert bad.value.param == "size"
    with pytest.raises(openai.InternalServerError) as unready:
        images.generate(model="tiny", prompt="a circle")
    assert (unready.value.status_code, unready.value.code) == (503, "model_not_ready")
    assert unready.value.request_id == unready.value.response.headers["x-request-id"]


def test_the_key_is_checked(start_gateway: StartGateway, connect: ConnectClient) -> None:
    gateway = start_gateway(api_key="right")
    assert len(connect(gateway.url, "right").models.list().data) == 1
    with pytest.raises(openai.AuthenticationError) as caught:
        connect(gateway.url, "wrong").models.list()
    assert caught.value.code == "invalid_api_key"
    assert "wrong" not in caught.value.message
    azure = openai.AzureOpenAI(base_url=f"{gateway.url}/v1", api_key="right", api_version="2024-10-21", max_retries=0)
    with azure:
        assert len(azure.models.list().data) == 1
