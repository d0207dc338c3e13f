"""Who gets in: every path without a key, with one of each scope, and what a key that is limited to models sees."""

import base64
import hashlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount

from cluster.waiting import eventually
from gateway.answers import PICTURE, entry, images
from gateway.manifests import image_model
from gateway.peers import Peer
from gateway.running import ConnectClient, Gateway, StartGateway
from heliograph_api.images.paths import PREFIXES
from heliograph_api.naming import child_name
from heliograph_gateway.app import create_app
from heliograph_gateway.keys.scopes import is_open
from heliograph_gateway.routing import RoutingTable
from heliograph_gateway.settings import GatewaySettings

OPEN = {
    "/healthz", "/readyz", "/docs", "/docs/static", "/openapi.json", "/", "/admin", "/page/{name:path}",
    "/v1/files/download/{file_id}/{name}",
}  # fmt: skip
"""Every route that answers without a key; another one belongs here only if it tells nothing and does nothing."""
ADMIN = {
    "/metrics",
    *(f"{prefix}{path}" for prefix in PREFIXES for path in ("/admin/models", "/models/{model_id:path}/load")),
}
"""Every route that takes the scope `admin`."""


def keys_file(path: Path, *entries: dict[str, Any]) -> Path:
    """Write a document whose keys are called like their entries."""
    named = [{"sha256": hashlib.sha256(entry["name"].encode()).hexdigest(), **entry} for entry in entries]
    path.write_text(json.dumps({"keys": named}))
    return path


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture
def gateway(start_gateway: StartGateway, tmp_path: Path) -> Gateway:
    """A gateway with keys of one scope each."""
    path = keys_file(
        tmp_path / "keys.yaml",
        {"name": "drawer"},
        {"name": "admin", "scopes": ["admin"]},
        {"name": "off", "disabled": True},
        {"name": "old", "expires": "2020-01-01"},
        {"name": "accent", "sha256": hashlib.sha256("clé".encode()).hexdigest()},
    )
    return start_gateway(keys_file=path)


def registered(tmp_path: Path) -> list[tuple[str, str]]:
    """Return method and path of every route that the app has."""
    app = create_app(RoutingTable(), GatewaySettings(data_dir=tmp_path, api_key="key"))
    found = []
    for context in iter_route_contexts(app.routes):
        assert context.path is not None, "a kind of route that this test does not know"
        mounted = isinstance(context.original_route, Mount)
        found += [(method, context.path) for method in sorted({"GET"} if mounted else context.methods or set())]
    return found


def filled(path: str) -> str:
    """Return a path with something in the place of its parameters."""
    for parameter in ("{model_id:path}", "{video_id}", "{file_id}", "{name}", "{name:path}"):
        path = path.replace(parameter, "x")
    assert "{" not in path, path
    return f"{path}/x" if path == "/docs/static" else path


def test_every_route_asks_for_a_key_unless_it_is_listed(gateway: Gateway, tmp_path: Path) -> None:
    routes = registered(tmp_path)
    assert {path for _, path in routes} >= OPEN
    assert len(routes) > 40
    for method, path in routes:
        answer = gateway.client.request(method, filled(path))
        if path in OPEN:
            assert answer.status_code != 401, path
            continue
        assert answer.status_code == 401, (method, path)
        assert answer.headers["www-authenticate"] == "Bearer"
        if method != "HEAD":
            assert answer.json()["error"]["code"] == "invalid_api_key"


def test_what_is_not_routed_needs_a_key_too(gateway: Gateway) -> None:
    for path in (
        "/nothing",
        "/v1",
        "/v1/files/download/x",
        "/admin/",
        "/admin/x",
        "/metrics/",
        "/pages/x",
        "/healthz/",
    ):
        assert gateway.client.get(path).status_code == 401, path
    host, port = gateway.url.removeprefix("http://").split(":")
    for target in (
        "*",
        "/v1/../healthz",
        "/healthz/../metrics",
        "/page/../metrics",
        "/%2e%2e/metrics",
        f"{gateway.url}/metrics",
    ):
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(f"GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
            text = connection.makefile("rb").read()
        assert text.split()[1] in {b"400", b"401", b"404"}, target
        assert b"heliograph_gateway" not in text, target


def test_every_route_takes_its_scope(gateway: Gateway, tmp_path: Path) -> None:
    routes = registered(tmp_path)
    assert {path for _, path in routes} >= ADMIN
    for key in ("drawer", "admin"):
        assert gateway.client.get("/v1/usage", headers=bearer(key)).status_code == 400, "it lacks a time, and no scope"
    for method, path in routes:
        if path in OPEN or path == "/v1/usage":
            continue
        admin = path in ADMIN
        wrong, right = ("drawer", "admin") if admin else ("admin", "drawer")
        refused = gateway.client.request(method, filled(path), headers=bearer(wrong))
        assert refused.status_code == 403, (method, path)
        if method != "HEAD":
            error = refused.json()["error"]
            assert (error["code"], error["type"]) == ("insufficient_scope", "permission_error")
            assert f"lacks the scope '{'admin' if admin else 'models'}'" in error["message"]
        passed = gateway.client.request(method, filled(path), headers=bearer(right))
        assert passed.status_code not in {401, 403}, (method, path)


@pytest.mark.parametrize("key", ["off", "old", "wrong", "drawer2", "rawer", "Bearer"])
def test_keys_that_do_not_count(gateway: Gateway, key: str) -> None:
    answer = gateway.client.get("/v1/models", headers=bearer(key))
    assert answer.status_code == 401
    told = {"off": "is disabled", "old": "has expired"}.get(key, "A valid API key is required")
    assert told in answer.json()["error"]["message"]


def test_a_key_may_come_in_either_header(gateway: Gateway) -> None:
    client = gateway.client
    for name in ("api-key", "x-api-key", "xi-api-key"):
        assert client.get("/v1/models", headers={name: "drawer"}).status_code == 200
        assert client.get("/v1/models", headers={name: "rawer"}).status_code == 401
    assert client.get("/v1/models", headers={"authorization": "bEaReR  drawer"}).status_code == 200
    # Azure's client sends both, where the one means nothing.
    both = {"authorization": "Bearer nothing", "api-key": "drawer"}
    assert client.get("/v1/models", headers=both).status_code == 200
    basic = {"authorization": "Basic " + base64.b64encode(b"user:drawer").decode()}
    assert client.get("/sdapi/v1/sd-models", headers=basic).status_code == 200
    assert client.get("/v1/models", headers=basic).status_code == 401
    latin = [(b"authorization", "Bearer clé".encode())]
    assert client.get("/v1/models", headers=latin).status_code == 200


def test_the_single_key_stays_beside_the_others(start_gateway: StartGateway, tmp_path: Path) -> None:
    gateway = start_gateway(keys_file=keys_file(tmp_path / "keys.yaml", {"name": "drawer"}), api_key="single")
    for path in ("/v1/models", "/metrics"):
        assert gateway.client.get(path, headers=bearer("single")).status_code == 200
    assert gateway.client.get("/metrics", headers=bearer("drawer")).status_code == 403


def test_without_keys_everybody_may_do_everything(start_gateway: StartGateway) -> None:
    client = start_gateway().client
    assert client.get("/metrics").status_code == client.get("/v1/admin/models").status_code == 200


def test_without_any_entry_nobody_may_do_anything(start_gateway: StartGateway, tmp_path: Path) -> None:
    client = start_gateway(keys_file=keys_file(tmp_path / "keys.yaml")).client
    for headers in ({}, {"api-key": ""}, {"authorization": "Bearer"}, {"authorization": ""}, bearer("x")):
        assert client.get("/v1/models", headers=headers).status_code == 401


def test_errors_reach_openai_s_client_as_its_own(gateway: Gateway, connect: ConnectClient) -> None:
    with pytest.raises(openai.AuthenticationError) as refused:
        connect(gateway.url, "wrong").models.list()
    assert refused.value.code == "invalid_api_key"
    with pytest.raises(openai.PermissionDeniedError) as forbidden:
        connect(gateway.url, "admin").images.generate(model="tiny", prompt="a circle")
    assert forbidden.value.code == "insufficient_scope"


@pytest.fixture
def shared(start_gateway: StartGateway, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway with models of two teams, and keys for some of them."""
    path = keys_file(
        tmp_path / "keys.yaml",
        {"name": "a", "models": ["team-a/*"]},
        {"name": "tiny", "models": ["tiny"]},
        {"name": "none", "models": ["nothing"]},
        {"name": "all"},
    )
    with Peer(images(entry(PICTURE))) as peer:
        gateway = start_gateway(keys_file=path, endpoints=[peer.endpoint], default_model="tiny", hold_seconds=0.5)
        routes = gateway.routes
        routes.set_model(image_model("sketch", "team-a", name="sketch-public"), created=1_700_000_001)
        routes.set_model(image_model("hidden", "team-b"), created=1_700_000_002)
        routes.set_model(image_model("off", "team-b", disabled=True), created=1_700_000_003)
        # Whoever may write into team-a's namespace must not open others to its keys.
        routes.set_model(image_model("door", "team-a", alias="team-b/hidden"), created=1_700_000_004)
        yield gateway


def listed(gateway: Gateway, key: str, path: str = "/v1/models") -> set[str]:
    answer = gateway.client.get(path, headers=bearer(key)).json()
    return {item["id"] for item in answer["data"]} if isinstance(answer, dict) else {item["title"] for item in answer}


def test_a_key_sees_the_models_that_it_is_for(shared: Gateway) -> None:
    assert listed(shared, "all") == {"tiny", "sketch-public", "hidden", "door"}
    assert listed(shared, "a") == listed(shared, "a", "/sdapi/v1/sd-models") == {"sketch-public"}
    assert listed(shared, "tiny") == {"tiny"}
    assert listed(shared, "none") == set()


def test_other_models_do_not_exist_for_a_key(shared: Gateway) -> None:
    asked = {name: {"model": name, "prompt": "a circle"} for name in ("hidden", "team-b/hidden", "team-b/off", "no")}
    for key, visible in (("a", "sketch-public"), ("tiny", "tiny"), ("none", "none")):
        for name, body in [
            *asked.items(),
            *(("team-a/door", {"model": "team-a/door", "prompt": "x"}),) * (key != "all"),
        ]:
            answers = [
                shared.client.post(path, json=body, headers=bearer(key))
                for path in ("/v1/images/generations", "/v1/videos")
            ]
            answers.append(shared.client.get(f"/v1/models/{name}", headers=bearer(key)))
            override = {"prompt": "x", "override_settings": {"sd_model_checkpoint": name}}
            answers.append(shared.client.post("/sdapi/v1/txt2img", json=override, headers=bearer(key)))
            choice = {"sd_model_checkpoint": name}
            answers.append(shared.client.post("/sdapi/v1/options", json=choice, headers=bearer(key)))
            for answer in answers:
                message = f"The model '{name}' does not exist. Available models: {visible}."
                assert answer.status_code == 404
                assert answer.json()["error"]["message"] == message
                assert answer.json()["error"]["code"] == "model_not_found"
                assert "x-heliograph-model" not in answer.headers


def test_a_model_is_reached_by_any_name_that_leads_to_it(shared: Gateway) -> None:
    for name in ("sketch-public", "sketch", "team-a/sketch"):
        assert shared.client.get(f"/v1/models/{name}", headers=bearer("a")).status_code == 200, name
    for name in ("tiny", "default/tiny"):
        assert shared.client.get(f"/v1/models/{name}", headers=bearer("tiny")).status_code == 200, name


def test_the_default_model_is_one_that_the_key_is_for(shared: Gateway) -> None:
    def drawn_by(key: str) -> httpx.Response:
        return shared.client.post("/v1/images/generations", json={"prompt": "a circle"}, headers=bearer(key))

    assert drawn_by("tiny").headers["x-heliograph-model"] == "tiny"
    # It has no replica; that it is the one that was chosen is what counts.
    assert drawn_by("a").headers["x-heliograph-model"] == "sketch-public"
    assert "tiny" not in drawn_by("none").text
    assert drawn_by("none").status_code == 404


def test_webui_s_default_is_a_model_that_the_key_is_for(shared: Gateway) -> None:
    for key, model in (("all", "tiny"), ("tiny", "tiny"), ("a", "sketch-public"), ("none", None)):
        options = shared.client.get("/sdapi/v1/options", headers=bearer(key))
        assert options.json()["sd_model_checkpoint"] == model, key


def test_a_clip_of_no_named_model_is_not_drawn_by_another_key_s(shared: Gateway) -> None:
    # Its public id is an older model's, which this key is not for.
    shared.routes.set_model(image_model("own", "team-a", name="tiny"), created=1_700_000_005)
    shared.routes.remove_model("team-a", "sketch")
    job = shared.client.post("/v1/videos", json={"prompt": "a circle"}, headers=bearer("a"))
    assert (job.status_code, job.json()["model"]) == (200, "own")
    assert shared.routes.resolve(job.json()["model"]).key == ("team-a", "own")


def test_a_clip_is_not_drawn_by_a_model_that_took_over_the_name(start_gateway: StartGateway, tmp_path: Path) -> None:
    path = keys_file(tmp_path / "keys.yaml", {"name": "a", "models": ["team-a/*"]})
    with Peer(images(entry(PICTURE))) as peer:
        gateway = start_gateway(keys_file=path, video_wait_seconds=5)
        slow = {"limits": {"retryAfterSeconds": 1}}
        gateway.routes.set_model(image_model("own", "team-a", name="clips", serving=slow))
        job = gateway.client.post("/v1/videos", json={"model": "clips", "prompt": "a"}, headers=bearer("a")).json()
        gateway.routes.remove_model("team-a", "own")
        gateway.routes.set_model(image_model("other", "team-b", name="clips"))
        gateway.routes.set_endpoints("team-b", child_name("other"), [peer.endpoint])

        def found() -> dict[str, Any]:
            video: dict[str, Any] = gateway.client.get(f"/v1/videos/{job['id']}", headers=bearer("a")).json()
            return video

        eventually(lambda: found()["status"] == "failed", what="end of the job")
        assert found()["error"]["code"] == "model_not_found"
        assert peer.requests == []


def test_the_list_of_open_paths_is_the_one_in_the_documentation() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "keys.md").read_text()
    table = text.partition("Without a key")[2]
    for path in OPEN:
        shown = {"/docs/static": "/docs/static/...", "/page/{name:path}": "/page/..."}.get(path, path)
        assert f"`{shown}`" in table, shown
        assert is_open(filled(path))


SPELLINGS = ("{}%0A", "{}/", "{}%00", "{}%2F", "{}//", "{}%20", "{}%0D%0A", "{}%E2%80%A8", "{}?x=/healthz")
"""Ways to write a path that what routes and what grants might read differently."""


def test_no_spelling_of_a_path_spares_its_scope(gateway: Gateway, tmp_path: Path) -> None:
    gateway.routes.set_model(image_model("sketch", "team-a", serving={"replicas": 0}))
    for method, path in registered(tmp_path):
        if path not in ADMIN:
            continue
        targets = [spelling.format(filled(path)) for spelling in SPELLINGS]
        if path.endswith("/load"):
            prefix = path.partition("/models/")[0]
            targets += [
                f"{prefix}/models/{name}/load" for name in ("", "%0A", "%2F", "team-a/sketch", "team-a%2Fsketch")
            ]
            targets += [f"{prefix}/models/team-a/sketch{end}" for end in ("/load%0A", "%2Fload", "/load?wait=1")]
        for target in targets:
            assert gateway.client.request(method, target).status_code == 401, (method, target)
            answer = gateway.client.request(method, target, headers=bearer("drawer"))
            reached = answer.status_code not in {403, 404, 405} or answer.json()["error"]["code"] == "model_not_found"
            assert not reached, (method, target, answer.status_code)


def test_no_path_is_served_with_a_line_feed_at_its_end(gateway: Gateway) -> None:
    for method, path in (
        ("GET", "/v1/models"),
        ("POST", "/v1/images/generations"),
        ("POST", "/video"),
        ("GET", "/admin"),
    ):
        answer = gateway.client.request(method, f"{path}%0A", headers=bearer("drawer"))
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found"), path
        assert f"Nothing is served at {path}%0A." in answer.json()["error"]["message"]
