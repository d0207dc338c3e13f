"""`heliograph check`, asked of gateways and of servers that are none."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cluster.addresses import free_port
from cluster.http_server import running
from heliograph.main import main

Answer = tuple[int, dict[str, str], Any]


def check(url: str, *options: str, key: str = "") -> Result:
    return CliRunner().invoke(main, ["check", url, *options], env={"HELIOGRAPH_API_KEY": key})


@contextmanager
def server(answer: Callable[[str, str], Answer]) -> Iterator[str]:
    """A server whose answers `answer` gives, by path and Authorization header; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answer(self.path, self.headers.get("authorization", ""))
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
            pass

    with running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as url:
        yield url


def envelope(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}


@pytest.mark.parametrize(
    ("ready", "models", "problem"),
    [
        ((503, {}, envelope("The gateway is shutting down.")), (200, {}, {}), "answered 503. The gateway is shutting"),
        ((308, {"location": "https://images.test/"}, b""), (200, {}, {}), "308. It leads to https://images.test/."),
        ((200, {}, {}), (401, {}, envelope("Incorrect key.")), "Incorrect key. Give one of the gateway's keys"),
        ((200, {}, {}), (403, {}, envelope("No such scope.")), "No such scope. Give one of the gateway's keys"),
        ((200, {}, {}), (500, {}, b"<html>"), "/v1/models answered 500."),
        ((200, {}, {}), (200, {}, b"<html>"), "something else than a list of models; is a gateway of Heliograph"),
        ((200, {}, {}), (200, {}, {"data": [{"id": 1}]}), "something else than a list of models"),
    ],
)
def test_what_is_wrong_is_said_with_the_remedy(ready: Answer, models: Answer, problem: str) -> None:
    with server(lambda path, _: ready if path == "/readyz" else models) as url:
        found = check(url, key="sk-1")
    assert found.exit_code == 1
    assert problem in found.stderr
    assert "sk-1" not in found.output


def test_nobody_there_is_said() -> None:
    found = check(f"http://127.0.0.1:{free_port()}", "--wait", "0.1")
    assert found.exit_code == 1
    assert "could not be reached" in found.stderr
    assert "See whether the gateway's pods are ready" in found.stderr


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://images.test", "http://"])
def test_an_url_of_something_else_is_refused(url: str) -> None:
    found = check(url)
    assert found.exit_code == 2
    assert "write one such as http://127.0.0.1:8080" in found.stderr


def test_a_gateway_that_becomes_ready_is_waited_for() -> None:
    asked: list[str] = []

    def answer(path: str, _: str) -> Answer:
        asked.append(path)
        if path == "/v1/models":
            return 401, {}, envelope("You didn't provide an API key.")
        return (200, {}, {}) if len(asked) > 1 else (503, {}, envelope("Not read yet."))

    with server(answer) as url:
        found = check(url, "--wait", "30")
    assert found.exit_code == 0
    assert "none was given, so that the models were not read" in found.stdout
    assert asked == ["/readyz", "/readyz", "/v1/models"]


def test_the_key_is_carried_and_many_models_are_counted() -> None:
    models = {"data": [{"id": f"m{number}", "heliograph": {"state": "cold"}} for number in range(23)]}

    def answer(path: str, authorization: str) -> Answer:
        assert authorization == "Bearer sk-1"
        return 200, {}, models

    with server(answer) as url:
        # A Secret made from a file often ends in a newline.
        found = check(f"{url}/", key="sk-1\n")
    assert found.exit_code == 0, found.output
    assert "/v1/models: 23 models: m0 (cold), m1 (cold)" in found.stdout
    assert found.stdout.rstrip().endswith("m19 (cold), 3 more")
