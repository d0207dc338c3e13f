"""Every answer other than success is the error envelope."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from heliograph_runtime.app import create_app
from heliograph_runtime.manifest import read_model
from heliograph_runtime.service import Service
from heliograph_runtime.settings import RuntimeSettings
from runtime.runtimes import EXAMPLES, Runtime
from runtime.scripted_runtime import scripted_runtime

GENERATIONS = "/v1/images/generations"
JSON = {"Content-Type": "application/json"}
AS_JSON = {"Content-Type": "application/json"}


def check_envelope(answer: httpx.Response, *, status: int, code: str) -> dict[str, str]:
    """Check an answer against OpenAI's schema of errors and return the error."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    error: dict[str, str] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
    assert error["message"]
    return error


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("POST", "/v1/chat/completions", 404, "not_found"),
        ("GET", "/docs", 404, "not_found"),
        ("GET", "/openapi.json", 404, "not_found"),
        ("GET", GENERATIONS, 405, "method_not_allowed"),
        ("GET", "/video", 405, "method_not_allowed"),
        ("POST", "/healthz", 405, "method_not_allowed"),
    ],
)
def test_unknown_paths_and_methods(runtime: Runtime, method: str, path: str, status: int, code: str) -> None:
    answer = httpx.request(method, f"{runtime.url}{path}", timeout=30, trust_env=False)

    check_envelope(answer, status=status, code=code)
    assert (answer.headers.get("allow") is not None) == (status == 405)


def test_requests_for_another_model_are_refused() -> None:
    body = {"prompt": "grey", "size": "8x8"}
    with scripted_runtime() as runtime:

        def ask(**headers: str) -> httpx.Response:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            return runtime.client.post(GENERATIONS, json=body, headers=sent)

        outside = ask(x_heliograph_target="art/other").status_code
        assert outside == ask().status_code != 421
        runtime.service.model = replace(runtime.service.model, namespace="art")
        for target in ("art/other", "other/tiny", "/tiny", ""):
            check_envelope(ask(x_heliograph_target=target), status=421, code="misdirected_request")
        assert ask().status_code == ask(x_heliograph_target="art/tiny").status_code == outside


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"prompt=a+cat",
        b'{"prompt": NaN}',
        b'{"prompt": "\\ud800"}',
        b'{"prompt": "\xff"}',
        '{"prompt": "a cat"}'.encode("utf-16"),
        b"[" * 100_000,
        b'{"seed": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda body: repr(body[:16]),
)
def test_what_is_not_json(runtime: Runtime, body: bytes) -> None:
    answer = httpx.post(f"{runtime.url}{GENERATIONS}", content=body, headers=AS_JSON, timeout=30, trust_env=False)

    check_envelope(answer, status=400, code="invalid_json")


def test_json_of_another_shape(runtime: Runtime) -> None:
    answer = httpx.post(f"{runtime.url}{GENERATIONS}", json=["a cat"], timeout=30, trust_env=False)

    check_envelope(answer, status=400, code="invalid_body")


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "image/png"])
def test_a_body_of_an_unknown_type(runtime: Runtime, content_type: str) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    content = json.dumps({"prompt": "a cat"}).encode()
    answer = httpx.post(f"{runtime.url}{GENERATIONS}", content=content, headers=headers, timeout=30, trust_env=False)

    check_envelope(answer, status=415, code="unsupported_media_type")


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("mebibytes", [2, 9])
def test_a_body_that_is_too_large(chunked: bool, mebibytes: int) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(mebibytes):
            yield b" " * 1024 * 1024

    with scripted_runtime(max_body_bytes=1024 * 1024) as running:
        content = parts() if chunked else b"".join(parts())
        answer = running.client.post(GENERATIONS, content=content, headers=JSON)

    check_envelope(answer, status=413, code="request_too_large")


@pytest.fixture
def app() -> FastAPI:
    """The application with nothing loaded, and two paths that fail as the framework and a bug do."""
    manifest = EXAMPLES / "tiny.yaml"
    service = Service(read_model(manifest), RuntimeSettings(manifest=manifest))
    app = create_app(service, on_failure=lambda _error: None)

    @app.get("/typed")
    async def typed(secret: int) -> int:
        return secret

    @app.get("/bug")
    async def bug() -> None:
        raise KeyError("a secret")

    return app


def ask(app: FastAPI, method: str, path: str, content: bytes | AsyncIterator[bytes] = b"") -> httpx.Response:
    async def request() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://runtime") as client:
            return await client.request(method, path, content=content, headers=AS_JSON)

    return asyncio.run(request())


def test_a_body_that_does_not_come(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heliograph_runtime.images.body._SILENCE_SECONDS", 0.1)

    async def parts() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    check_envelope(ask(app, "POST", GENERATIONS, parts()), status=408, code="request_timeout")


def test_the_frameworks_validation_names_the_field_and_hides_the_value(app: FastAPI) -> None:
    answer = ask(app, "GET", "/typed?secret=hush")

    assert check_envelope(answer, status=422, code="invalid_value")["param"] == "secret"
    assert "hush" not in answer.text


def test_a_bug_is_told_without_its_details(app: FastAPI) -> None:
    answer = ask(app, "GET", "/bug")

    check_envelope(answer, status=500, code="internal_error")
    assert answer.headers["x-should-retry"] == "false"
    assert "secret" not in answer.text


def test_before_the_model_is_loaded(app: FastAPI) -> None:
    assert ask(app, "GET", "/healthz").status_code == 200
    check_envelope(ask(app, "GET", "/readyz"), status=503, code="not_ready")
    answer = ask(app, "POST", GENERATIONS, json.dumps({"prompt": "a cat"}).encode())
    check_envelope(answer, status=503, code="model_loading")
    assert answer.headers["retry-after"] == "5"


def test_a_manifest_holds_one_model(tmp_path: Path) -> None:
    manifest = tmp_path / "models.yaml"
    manifest.write_text("- {name: a, parameters: {model: a}}\n- {name: b, parameters: {model: b}}\n")

    with pytest.raises(ValueError, match="holds 2 models; a runtime serves exactly one"):
        read_model(manifest)
