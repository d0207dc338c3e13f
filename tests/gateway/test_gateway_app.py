"""What a client gets from the gateway itself: errors, ids, logs, probes, metrics and the key."""

import base64
import logging
import socket
from collections.abc import Iterator

import pytest
from fastapi import FastAPI, HTTPException

from cluster.waiting import eventually
from gateway.answers import check_error
from gateway.manifests import image_model
from gateway.peers import Peer, answer
from gateway.running import StartGateway
from heliograph_gateway.app import create_app
from heliograph_gateway.health import Health
from heliograph_gateway.routing import RoutingTable
from heliograph_gateway.settings import GatewaySettings

JSON = {"content-type": "application/json"}
PATH = "/v1/images/generations"
SECRET = "canary-7f3a"


class Unread:
    """A source that was not read yet."""

    name = "imagemodels"
    synced = False

    def age(self) -> float:
        return 12.5


def test_unknown_paths_and_methods(start_gateway: StartGateway) -> None:
    client = start_gateway().client
    message = check_error(client.post("/v2/images/generations"), 404, "not_found")
    assert "/v2/images/generations" in message
    assert PATH in message
    response = client.get(PATH)
    assert "use POST" in check_error(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"
    response = client.options(PATH)
    assert (response.status_code, response.headers["allow"], response.content) == (204, "POST, OPTIONS", b"")
    assert client.options("/v2/images/generations").status_code == 404
    for path in ("/redoc", "/v1/models/", "/docs/static/../../etc/passwd", "/docs/other"):
        assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"\xff\xfe", b'{"prompt": "a", "seed": NaN}', b'{"prompt": "a", "seed": -Infinity}',
        b'{"a":' * 100_000, rb'{"prompt": "a", "model": "\ud800"}',
        b'{"seed": ' + b"9" * 5000 + b"}", '{"prompt": "a"}'.encode("utf-16"),
    ],
)  # fmt: skip
def test_what_is_not_json(start_gateway: StartGateway, body: bytes) -> None:
    response = start_gateway().client.post(PATH, content=body, headers=JSON)
    check_error(response, 400, "invalid_json")


def test_line_breaks_in_strings_are_let_pass(start_gateway: StartGateway) -> None:
    with Peer(answer(200, {})) as peer:
        client = start_gateway(endpoints=[peer.endpoint]).client
        assert client.post(PATH, content=b'{"prompt": "a\ncircle"}', headers=JSON).status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, {"content-type": "text/plain"}, {"content-type": "application/x-www-form-urlencoded"}]
)
def test_other_content_types(start_gateway: StartGateway, headers: dict[str, str]) -> None:
    response = start_gateway().client.post(PATH, content=b'{"prompt": "a"}', headers=headers)
    assert "application/json" in check_error(response, 415, "unsupported_media_type")


def test_content_encodings(start_gateway: StartGateway) -> None:
    response = start_gateway().client.post(PATH, content=b"{}", headers=JSON | {"content-encoding": "gzip"})
    check_error(response, 415, "unsupported_content_encoding")


def test_bodies_are_limited_with_and_without_a_length(start_gateway: StartGateway) -> None:
    with Peer(answer(200, {})) as peer:
        client = start_gateway(endpoints=[peer.endpoint], max_body_bytes=1000).client
        exact = b'{"prompt": "' + b"a" * 986 + b'"}'
        assert len(exact) == 1000
        assert client.post(PATH, content=exact, headers=JSON).status_code == 200
        for content in (exact + b" ", iter([exact, b" "])):
            response = client.post(PATH, content=content, headers=JSON)
            assert "1000 bytes" in check_error(response, 413, "request_too_large")
        assert len(peer.requests) == 1


def test_a_client_still_sending_hears_that_its_body_is_too_large(start_gateway: StartGateway) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(500):
            yield b" " * 65_536

    client = start_gateway(max_body_bytes=20_000_000).client
    check_error(client.post(PATH, content=endless(), headers=JSON), 413, "request_too_large")
    check_error(client.post(PATH, content=b" " * 32_000_000, headers=JSON), 413, "request_too_large")


def test_a_client_that_leaves_while_it_sends(start_gateway: StartGateway, caplog: pytest.LogCaptureFixture) -> None:
    gateway = start_gateway()
    with socket.create_connection((gateway.client.base_url.host, gateway.client.base_url.port or 0)) as connection:
        head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n"
        connection.sendall(head.encode() + b"{")
    assert gateway.generate().status_code == 503
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": "tiny"}, "prompt"),
        ({"prompt": "a", "model": 5}, "model"),
        ({"prompt": "a", "steps": -1}, "steps"),
        ({"prompt": "a", "size": "huge"}, "size"),
        ({"prompt": "a", "n": 3}, "n"),
        ({"prompt": "a", "size": "128x256"}, "size"),
    ],
)
def test_requests_are_checked_before_a_replica_is_picked(
    start_gateway: StartGateway, body: dict[str, object], param: str
) -> None:
    limits = {"serving": {"limits": {"maxImages": 2, "maxPixels": 128 * 128}}}
    with Peer(answer(200, {})) as peer:
        client = start_gateway(endpoints=[peer.endpoint], tiny=limits).client
        response = client.post(PATH, json=body)
        assert response.status_code == 400
        error = response.json()["error"]
        assert error["param"] == param
        assert param in error["message"]
        assert peer.requests == []


def test_which_model_answers(start_gateway: StartGateway) -> None:
    with Peer(answer(200, {})) as peer:
        gateway = start_gateway(endpoints=[peer.endpoint], hold_seconds=0.1)
        gateway.routes.set_model(image_model("off", disabled=True))
        gateway.routes.set_model(image_model("cold"), not_ready="The claim 'models' is not bound; create it.")
        gateway.routes.set_model(image_model("gpt-image-1", alias="tiny"))
        for model in (None, "", "tiny", "default/tiny", "gpt-image-1"):
            response = gateway.client.post(PATH, json={"prompt": "a", "model": model})
            assert (response.status_code, response.headers["x-heliograph-model"]) == (200, "tiny")
        response = gateway.client.post(PATH, json={"prompt": "a", "model": "none"})
        message = check_error(response, 404, "model_not_found", "model")
        assert message.endswith("Available models: cold, gpt-image-1, tiny.")
        response = gateway.client.post(PATH, json={"prompt": "a", "model": "off"})
        check_error(response, 403, "model_disabled", "model")
        response = gateway.client.post(PATH, json={"prompt": "a", "model": "cold"})
        assert "The claim 'models' is not bound" in check_error(response, 503, "model_not_ready", "model")
        assert response.headers["retry-after"] == "10"


def test_unforeseen_errors_tell_nothing(start_gateway: StartGateway, caplog: pytest.LogCaptureFixture) -> None:
    def prepare(app: FastAPI) -> None:
        @app.get("/broken")
        async def broken() -> None:
            raise RuntimeError(SECRET)

        @app.get("/typed/{number}")
        async def typed(number: int) -> int:
            return number

        @app.get("/raised")
        async def raised() -> None:
            raise HTTPException(410, "moved on", {"x-where": "away"})

    client = start_gateway(prepare=prepare).client
    response = client.get("/broken", headers={"x-request-id": "the-broken-one"})
    check_error(response, 500, None)
    assert SECRET not in response.text
    assert response.headers["x-request-id"] == "the-broken-one"
    assert SECRET in caplog.text
    assert "the-broken-one" in caplog.text
    response = client.get(f"/typed/{SECRET}")
    check_error(response, 422, "invalid_value", "path.number")
    assert SECRET not in response.text
    response = client.get("/raised")
    assert check_error(response, 410, "gone") == "moved on"
    assert response.headers["x-where"] == "away"


@pytest.mark.parametrize("value", ["", "a b", "a" * 129, 'x"y', "é"])
def test_only_plain_request_ids_are_taken_over(start_gateway: StartGateway, value: str) -> None:
    client = start_gateway().client
    ids = {
        client.get("/healthz", headers=[(b"x-request-id", value.encode())]).headers["x-request-id"] for _ in range(2)
    }
    assert len(ids) == 2
    assert all(identifier.isalnum() and len(identifier) == 32 for identifier in ids)


def test_the_access_log_tells_no_secrets(start_gateway: StartGateway, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Peer(answer(200, {"data": [{"b64_json": SECRET}]})) as peer:
        client = start_gateway(endpoints=[peer.endpoint], api_key=f"key-{SECRET}").client
        body = {"prompt": SECRET, "model": "tiny", SECRET: SECRET}
        for key in (f"key-{SECRET}", f"other-{SECRET}"):
            client.post(f"{PATH}?{SECRET}", json=body, headers={"authorization": f"Bearer {key}"})
            client.post(PATH, json=body | {"steps": SECRET}, headers={"api-key": key})
        client.get("/a%0d%0a%1b[31mFAKE", headers={"cookie": SECRET, "x-request-id": f"{SECRET} x"})
        client.get("/readyz")
        # A line is written after the answer is sent.
        probes = eventually(
            lambda: [record for record in caplog.records if "GET /readyz 200" in record.getMessage()],
            what="line of the last request",
        )
    assert [record.levelname for record in probes] == ["DEBUG"]
    records = [record for record in caplog.records if record.name.startswith(("heliograph", "uvicorn"))]
    lines = [record.getMessage() for record in records]
    assert not [line for line in lines if SECRET in line]
    for beginning in (f"POST {PATH} 200 model=default/tiny ", "GET /a%0D%0A%1B%5B31mFAKE 401 model=- "):
        assert [line for line in lines if line.startswith(beginning)]


def test_readiness(start_gateway: StartGateway) -> None:
    source = Unread()
    health = Health([source])
    client = start_gateway(health=health).client
    assert "imagemodels" in check_error(client.get("/readyz"), 503, "not_ready")
    assert client.get("/healthz").status_code == 200
    source.synced = True
    assert client.get("/readyz").status_code == 200
    health.draining = True
    assert "shutting down" in check_error(client.get("/readyz"), 503, "not_ready")
    assert client.get("/healthz").status_code == 200


def test_metrics_have_no_label_that_a_client_makes(start_gateway: StartGateway) -> None:
    gateway = start_gateway(health=Health([Unread()]))
    for model in ("made-up", "tiny"):
        gateway.client.post(PATH, json={"prompt": "a", "model": model})
    gateway.client.get("/made-up")
    assert "made-up" not in gateway.client.get("/metrics").text
    gateway.expect_metric(2, "heliograph_gateway_requests_total", model="", status="404")
    gateway.expect_metric(1, "heliograph_gateway_requests_total", namespace="default", model="tiny", status="503")
    gateway.expect_metric(12.5, "heliograph_gateway_informer_age_seconds", resource="imagemodels")


def test_every_path_but_the_probes_needs_the_key(start_gateway: StartGateway) -> None:
    schema = create_app(RoutingTable(), GatewaySettings(api_key="key")).openapi()
    routes = [(method, path.replace("{model_id}", "tiny")) for path, item in schema["paths"].items() for method in item]
    assert ("post", PATH) in routes
    client = start_gateway(api_key="key").client
    answers = {path: client.request(method, path) for method, path in [*routes, ("get", "/docs/x"), ("put", "/x")]}
    # A link carries a signature instead.
    signed = "/v1/files/download/{file_id}/{name}"
    assert {path for path, response in answers.items() if response.status_code != 401} == {
        "/healthz",
        "/readyz",
        signed,
    }
    assert answers[signed].status_code in {403, 404}
    response = answers[PATH]
    assert "api-key: KEY" in check_error(response, 401, "invalid_api_key")
    assert response.json()["error"]["type"] == "authentication_error"
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": "Bearer clé"}, 200),
        ({"authorization": "bearer  clé"}, 200),
        ({"api-key": "clé"}, 200),
        ({"authorization": "Bearer other", "api-key": "clé"}, 200),
        ({"authorization": "Basic clé"}, 401),
        ({"authorization": "clé"}, 401),
        ({"authorization": "Bearer cl"}, 401),
        ({"authorization": "Bearer"}, 401),
        ({"api-key": ""}, 401),
        ({"x-api-key": "clé"}, 200),
        ({"xi-api-key": "clé"}, 200),
        ({"x-api-key": "other", "xi-api-key": "clé"}, 200),
        ({"x-api-key": "cl"}, 401),
        ({"x-key": "clé"}, 401),
        ({"cookie": "api-key=clé"}, 401),
    ],
)
def test_the_key_comes_in_either_header(start_gateway: StartGateway, headers: dict[str, str], status: int) -> None:
    client = start_gateway(api_key="clé").client
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    assert client.get("/v1/models", headers=encoded).status_code == status


@pytest.mark.parametrize(
    ("path", "credentials", "status"),
    [
        ("/sdapi/v1/samplers", "user:clé", 200),
        ("/sdapi/v1/samplers", ":clé", 200),
        ("/sdapi/v1/samplers", "clé:", 401),
        ("/sdapi/v1/samplers", "clé", 401),
        ("/v1/models", "user:clé", 401),
    ],
)
def test_tools_of_the_web_ui_send_the_key_as_a_password(
    start_gateway: StartGateway, path: str, credentials: str, status: int
) -> None:
    client = start_gateway(api_key="clé").client
    headers = {"authorization": f"Basic {base64.b64encode(credentials.encode()).decode()}"}

    assert client.get(path, headers=headers).status_code == status


def test_models(start_gateway: StartGateway) -> None:
    gateway = start_gateway(tiny={"name": "acme/tiny v1", "serving": {"aliases": ["gpt-image-1"]}})
    gateway.routes.set_model(image_model("off", disabled=True))
    entry = {"object": "model", "created": 1_700_000_000, "owned_by": "default"}
    state = gateway.client.get("/v1/models/default/tiny").json().pop("heliograph")
    assert (state["state"], state.pop("capabilities")) == ("loading", None)
    listed = {**entry, "heliograph": state}
    body = gateway.client.get("/v1/models").json()
    assert body == {"object": "list", "data": [{"id": "acme/tiny v1", **listed}, {"id": "gpt-image-1", **listed}]}
    described = {**entry, "heliograph": {**state, "capabilities": None}}
    for path in ("acme/tiny%20v1", "acme%2Ftiny%20v1"):
        assert gateway.client.get(f"/v1/models/{path}").json() == {"id": "acme/tiny v1", **described}
    assert gateway.client.get("/v1/models/default/tiny").json() == {"id": "default/tiny", **described}
    check_error(gateway.client.get("/v1/models/off"), 403, "model_disabled", "model")
    message = check_error(gateway.client.get("/v1/models/acme/other"), 404, "model_not_found", "model")
    assert message == "The model 'acme/other' does not exist. Available models: acme/tiny v1, gpt-image-1."
