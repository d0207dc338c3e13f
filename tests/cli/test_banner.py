"""The command that `heliograph serve` prints, run by a shell against a server that shows what it got."""

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from heliograph.serve.banner import banner, command

AWKWARD = """it's "so" $HOME `id` \\ 絵 {}"""


@pytest.fixture
def recorder() -> Iterator[tuple[str, list[Any]]]:
    """The URL of a server and the requests that it got."""
    requests: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            requests.append((self.path, self.headers["Authorization"], json.loads(body)))
            answer = json.dumps({"data": [{"b64_json": base64.b64encode(b"picture").decode()}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", requests
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("model", ["tiny", AWKWARD])
def test_command_runs_as_printed(recorder: tuple[str, list[Any]], tmp_path: Path, model: str) -> None:
    url, requests = recorder
    printed = banner(url, [model], with_key=False).splitlines()[1]

    done = subprocess.run(["sh", "-c", printed], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "picture.png").read_bytes() == b"picture"
    body = {"model": model, "prompt": "a red circle on a white background", "response_format": "b64_json"}
    assert requests == [("/v1/images/generations", None, body)]


def test_command_takes_the_key_from_the_environment(recorder: tuple[str, list[Any]], tmp_path: Path) -> None:
    url, requests = recorder
    env = {**os.environ, "HELIOGRAPH_API_KEY": "s3cret"}

    subprocess.run(["sh", "-c", command(url, "tiny", with_key=True)], cwd=tmp_path, env=env, timeout=30, check=True)

    assert requests[0][1] == "Bearer s3cret"


def test_banner_names_url_and_models() -> None:
    first, _ = banner("http://127.0.0.1:8080", ["tiny", "other"], with_key=False).splitlines()

    assert first == "Heliograph is ready at http://127.0.0.1:8080 (models: tiny, other)"
