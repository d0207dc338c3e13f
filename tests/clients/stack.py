"""The whole stack, as clients see it: `heliograph serve` in front of its runtimes."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cli.serving import Serving
from cluster.leash import Leash


@dataclass(frozen=True)
class Stack:
    """A stack that answers.

    Attributes:
        url: Base URL of its gateway.
        client: A plain HTTP client for it.
    """

    url: str
    client: httpx.Client

    def post(self, path: str, **content: Any) -> httpx.Response:
        """Send `json`, or `data` and `files` of a form; the answer must be a success."""
        answer = self.client.post(path, **content)
        assert answer.status_code == 200, answer.text
        return answer

    def download(self, url: str) -> httpx.Response:
        """Return what is behind a link, which is absolute and needs no key."""
        assert url.startswith(f"{self.url}/")
        answer = httpx.get(url, trust_env=False)
        assert answer.status_code == 200, answer.text
        return answer


@contextmanager
def serving(models: Path, specs: Mapping[str, Mapping[str, Any]], **settings: str) -> Iterator[Stack]:
    """Serve models on a free port, and yield once all are ready.

    Args:
        models: Folder of the weights; manifest and log are written into it.
        specs: Spec of each model by its name.
        settings: Settings of the gateway.
    """
    manifest = models / "models.yaml"
    documents = [
        {"apiVersion": "heliograph.dev/v1alpha1", "kind": "ImageModel", "metadata": {"name": name}, "spec": spec}
        for name, spec in specs.items()
    ]
    manifest.write_text("\n---\n".join(map(json.dumps, documents)))
    command = [sys.executable, "-m", "heliograph", "serve", str(manifest), "--port", "0"]
    given = {f"HELIOGRAPH_GATEWAY_{name.upper()}": value for name, value in settings.items()}
    with Leash(command, log=models / "serve.log", env=os.environ | given, cwd=models, grace=20.0) as leash:
        server = Serving(leash)
        server.wait_ready()
        assert f"(models: {', '.join(specs)})" in server.output
        with httpx.Client(base_url=server.url, timeout=240, trust_env=False) as client:
            yield Stack(server.url, client)
