"""A registry of OCI artifacts: CNCF's Distribution, built from the sources in registry/, which keeps all in memory."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cluster.addresses import free_port
from cluster.go_programs import go_program
from cluster.leash import Leash
from runtime.file_host import FileHost
from runtime.registry_tokens import make_token

_SOURCES = Path(__file__).parent / "registry"
_CONFIG = """\
version: 0.1
log: {{level: error}}
storage: {{inmemory: {{}}}}
http: {{addr: 127.0.0.1:{port}}}
"""
_GUARDED = """\
auth: {{token: {{realm: "{realm}", service: registry, issuer: tests, rootcertbundle: {certificate}}}}}
"""
_EMPTY = b"{}"


@dataclass(frozen=True)
class Registry:
    """A running registry.

    Attributes:
        host: Its host and port.
        token: What it lets a reader and writer in for; empty when it lets everybody in.
    """

    host: str
    token: str = ""

    def push(self, repository: str, tag: str, files: Mapping[str, bytes], *, titles: bool = True, **layer: Any) -> str:
        """Push an artifact as oras does, each file a layer with its path as title; return its digest."""
        layers = [
            self._blob(repository, content)
            | ({"annotations": {"org.opencontainers.image.title": path}} if titles else {})
            | layer
            for path, content in files.items()
        ]
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": "application/vnd.example.weights",
            "config": self._blob(repository, _EMPTY) | {"mediaType": "application/vnd.oci.empty.v1+json"},
            "layers": layers,
        }
        with self._client() as client:
            answer = client.put(
                f"http://{self.host}/v2/{repository}/manifests/{tag}",
                content=json.dumps(manifest),
                headers={"content-type": str(manifest["mediaType"])},
            ).raise_for_status()
        return answer.headers["docker-content-digest"]

    def _blob(self, repository: str, content: bytes) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        with self._client() as client:
            started = client.post(f"http://{self.host}/v2/{repository}/blobs/uploads/").raise_for_status()
            place = httpx.URL(started.headers["location"]).copy_merge_params({"digest": digest})
            client.put(place, content=content).raise_for_status()
        return {"mediaType": "application/octet-stream", "digest": digest, "size": len(content)}

    def _client(self) -> httpx.Client:
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        return httpx.Client(headers=headers, trust_env=False)


@contextmanager
def registry(folder: Path, *, tokens: FileHost | None = None, repository: str = "") -> Iterator[Registry]:
    """Run a registry inside the `with` block.

    Args:
        folder: Folder for what it needs.
        tokens: Host that hands a token to everybody, without which the registry lets nobody in.
        repository: Repository that the token is for.
    """
    port = free_port()
    settings, token = _CONFIG.format(port=port), ""
    if tokens:
        certificate = folder / "tokens.pem"
        token = make_token(certificate, issuer="tests", audience="registry", repository=repository)
        tokens.files["/token"] = json.dumps({"token": token}).encode()
        settings += _GUARDED.format(realm=tokens.url("/token"), certificate=certificate)
    config = folder / "registry.yaml"
    config.write_text(settings)
    with Leash([go_program("registry", _SOURCES)[0], "serve", config], log=folder / "registry.log") as leash:
        leash.wait_until(lambda: _answers(port))
        yield Registry(f"127.0.0.1:{port}", token)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/v2/", trust_env=False).status_code in {200, 401}
    except httpx.TransportError:
        return False
