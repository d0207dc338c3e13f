"""Secrets in every setting and request: after all goes well and all goes wrong they are nowhere to be read."""

import base64
import gzip
import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from gateway.peers import Peer, answer, hold, reset, say
from hostile.lone_gateway import LoneGateway, lone_gateway
from postgres import PASSWORD, Postgres, postgres_server

KEY = "sk-canary-key-of-the-gateway"
WRONG_KEY = "sk-canary-key-that-is-wrong"
PROMPT = "canary prompt of a customer"
NEGATIVE = "canary negative prompt"
PIXELS = b"\x89PNG\r\n\x1a\n" + b"canary-pixels" * 20
ENVIRONMENT = {
    "HF_TOKEN": "hf_canaryToken",
    "AWS_ACCESS_KEY_ID": "canary-access-key",
    "AWS_SECRET_ACCESS_KEY": "canary-secret-access-key",
    "AWS_SESSION_TOKEN": "canary-session-token",
    "AWS_REGION": "nowhere-1",
    "AWS_ALLOW_HTTP": "true",
}
SIGNING_KEY = "canary-signing-key-of-32-letters"
SECRETS = (KEY, WRONG_KEY, SIGNING_KEY, PASSWORD, *(value for value in ENVIRONMENT.values() if "canary" in value))
"""What no answer may hold, whoever asks."""
_IMAGES = {"created": 1, "data": [{"b64_json": "iVBORw0KGgo=", "seed": 1}], "output_format": "png", "size": "8x8"}
_EVENTS = b'event: image_generation.completed\ndata: {"type": "image_generation.completed"}\n\n'


def _spellings(secret: str) -> set[str]:
    plain = secret.encode()
    return {secret, quote(secret), base64.b64encode(plain).decode().rstrip("="), plain.hex(), repr(secret)[1:-1]}


@dataclass
class Told:
    """All that the gateway told.

    Attributes:
        answers: Status lines, headers and bodies of its answers.
        traces: What it sent to the collector of traces.
    """

    answers: list[str] = field(default_factory=list)
    traces: list[bytes] = field(default_factory=list)

    def take(self, got: httpx.Response) -> httpx.Response:
        self.answers.append(f"{got.url} {got.status_code} {got.headers!r} {got.text}")
        return got


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with postgres_server(tmp_path_factory.mktemp("postgres")) as server:
        yield server


def ask_in_every_way(client: httpx.Client, peer: Peer, told: Told) -> set[int]:
    """Ask so that it goes well, so that it is refused, and so that each part fails; return the statuses."""
    body = {"model": "tiny", "prompt": PROMPT, "negative_prompt": NEGATIVE}
    picture = base64.b64encode(PIXELS).decode()
    failure = {"error": {"message": f"no {PROMPT}", "type": "server_error", "param": None, "code": "failed"}}
    statuses = set()
    for behaviour in (
        answer(200, _IMAGES),
        answer(200, _EVENTS, content_type="text/event-stream"),
        answer(500, failure),
        answer(400, failure),
        answer(200, b"<html>"),
        say(b"\x00\x01"),
        reset(),
        reset(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"),
        hold(threading.Event()),
    ):
        peer.behaviour = behaviour
        for path, more in (
            ("/v1/images/generations", {}),
            ("/v1/images/generations", {"response_format": "url"}),
            ("/v1/images/generations", {"stream": True}),
            ("/v1/images/edits", {"image": picture}),
            ("/sdapi/v1/txt2img", {}),
            ("/v1/videos", {}),
        ):
            try:
                statuses.add(told.take(client.post(path, json=body | more)).status_code)
            except httpx.RemoteProtocolError:
                statuses.add(0)
    peer.behaviour = answer(200, _IMAGES)
    parts: dict[str, tuple[str | None, str | bytes]] = {"prompt": (None, PROMPT), "image": (f"{PROMPT}.png", PIXELS)}
    for got in (
        client.post("/v1/images/edits", files=parts),
        client.post("/v1/images/generations", json=body | {"n": PROMPT}),
        client.post("/v1/images/generations", json=body | {"size": PROMPT}),
        client.post(
            "/v1/images/generations",
            content=f'{{"prompt": "{PROMPT}'.encode(),
            headers={"content-type": "application/json"},
        ),
        client.post("/v1/images/edits", json=body | {"image": f"http://user:{WRONG_KEY}@127.0.0.1/"}),
        client.post(f"/v1/images/generations?prompt={quote(PROMPT)}&api-key={KEY}", json=body),
        client.get(f"/v1/videos?after={KEY}"),
        client.post("/v1/images/generations", json=body, headers={"authorization": f"Bearer {WRONG_KEY}"}),
        *(
            client.post("/v1/images/generations", json=body, headers={"authorization": "", name: key})
            for name, key in itertools.product(("api-key", "x-api-key", "xi-api-key"), (KEY, WRONG_KEY))
        ),
        client.post("/sdapi/v1/txt2img", json=body, headers={"authorization": _basic(KEY)}),
        client.post("/sdapi/v1/txt2img", json=body, headers={"authorization": _basic(WRONG_KEY)}),
        *(client.get(path) for path in ("/metrics", "/v1/models", "/v1/models/tiny", "/v1/usage", "/v1/admin/models")),
        *(client.get(path) for path in ("/openapi.json", "/healthz", "/readyz", "/v1/videos")),
    ):
        statuses.add(told.take(got).status_code)
    return statuses


def _basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"user:{password}".encode()).decode()


def check(gateway: LoneGateway, told: Told) -> None:
    """Look for secrets wherever something may be read."""
    log = gateway.leash.log.read_text()
    traces = b"".join(told.traces).decode("latin-1")
    for secret in SECRETS:
        for text in _spellings(secret):
            assert text not in log
            assert text not in traces
            # A client sees its own URL again, no more.
            assert not [shown for shown in told.answers if text in shown.partition(" ")[2]]
    pixels = {PIXELS.decode("latin-1")[8:40], base64.b64encode(PIXELS).decode()[16:60]}
    for text in _spellings(PROMPT) | _spellings(NEGATIVE) | pixels | {"canary"}:
        assert text not in log
        assert text not in traces
    public = ("/metrics", "/v1/models", "/v1/usage", "/v1/admin/models", "/openapi.json")
    for shown in told.answers:
        if httpx.URL(shown.partition(" ")[0]).path.startswith(public):
            assert "canary" not in shown


@pytest.mark.parametrize("log_format", ["plain", "json"])
def test_secrets_are_told_to_nobody(database: Postgres, tmp_path: Path, log_format: str) -> None:
    told = Told()
    with (
        Peer(answer(200, _IMAGES)) as peer,
        Peer(answer(200, b"")) as collector,
        Peer(answer(403, b"canary")) as bucket,
    ):
        settings: dict[str, Any] = {
            "api_key": KEY,
            "signing_key": SIGNING_KEY,
            "database_url": database.new_database(),
            "log_format": log_format,
            "read_timeout": "0.5",
            "response_format": "both",
            "video_wait_seconds": "1",
        }
        environment = {
            **ENVIRONMENT,
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.endpoint.url}/v1/traces",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }
        headers = {"authorization": f"Bearer {KEY}"}
        with lone_gateway(tmp_path, [peer.endpoint], environment=environment, **settings) as gateway:
            with httpx.Client(base_url=gateway.url, headers=headers, timeout=60, trust_env=False) as client:
                statuses = ask_in_every_way(client, peer, told)
                assert {200, 400, 401, 500, 502, 504} <= statuses
                database.stop()
                try:
                    assert ask_in_every_way(client, peer, told) & {500, 503}
                finally:
                    database.start()
            gateway.leash.stop()
            for request in collector.requests:
                compressed = request.headers.get("content-encoding") == "gzip"
                told.traces.append(gzip.decompress(request.body) if compressed else request.body)
            assert told.traces
            check(gateway, told)
        assert bucket.requests == []


def test_a_database_that_cannot_be_had_is_told_without_its_password(tmp_path: Path) -> None:
    with Peer(say(b"")) as peer:
        url = f"postgresql://postgres:{PASSWORD}@127.0.0.1:{peer.endpoint.port}/canary"
        log = tmp_path / "gateway.log"
        with pytest.raises(Exception, match="ended with code"), lone_gateway(tmp_path, [], database_url=url):
            pass
        assert PASSWORD not in log.read_text()


def test_a_bucket_that_refuses_is_told_without_its_keys(tmp_path: Path) -> None:
    with Peer(answer(200, _IMAGES)) as peer, Peer(answer(403, b"canary-of-the-bucket")) as bucket:
        environment = {**ENVIRONMENT, "AWS_ENDPOINT_URL": bucket.endpoint.url}
        log = tmp_path / "gateway.log"
        told = Told()
        with (
            pytest.raises(Exception, match="ended with code"),
            lone_gateway(tmp_path, [peer.endpoint], environment=environment, files_url="s3://pictures/a") as gateway,
        ):
            told.take(
                httpx.post(f"{gateway.url}/v1/images/generations", json={"response_format": "url"}, trust_env=False)
            )
        assert bucket.requests
        text = log.read_text() + "".join(told.answers)
        for name, secret in ENVIRONMENT.items():
            if "canary" in secret:
                assert secret not in text, name
        sent = " ".join(f"{request.line} {request.headers}" for request in bucket.requests)
        assert ENVIRONMENT["AWS_SECRET_ACCESS_KEY"] not in sent
        assert ENVIRONMENT["HF_TOKEN"] not in sent
