"""Artifacts of OCI registries (opencontainers/distribution-spec)."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import httpx

from heliograph_api.sources import RegistrySource
from heliograph_runtime.weights.errors import FetchError
from heliograph_runtime.weights.listing import Entry, Listing
from heliograph_runtime.weights.urls import HttpFile, answering, check_answer

_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.artifact.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)  # fmt: skip
_TITLE = "org.opencontainers.image.title"
_UNPACK = "io.deis.oras.content.unpack"
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_DIGEST = re.compile(r"sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})")
_LOCAL = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?")


def list_artifact(source: RegistrySource, *, field: str, client: httpx.Client, plain_http: bool = False) -> Listing:
    """Return the files of an artifact: its layers, by the titles that they carry.

    A registry on this machine is spoken to without TLS, as its usual clients do.

    Raises:
        FetchError: It can't be had, or is a container image instead.
    """
    scheme = "http" if plain_http or _LOCAL.fullmatch(source.registry) else "https"
    base = f"{scheme}://{source.registry}/v2/{source.repository}"
    name = f"{source.registry}/{source.repository}:{source.reference}"
    headers = {"accept": ", ".join(_MANIFESTS)}
    url = f"{base}/manifests/{source.reference}"
    with answering(field, url):
        answer = client.get(url, headers=headers)
        if answer.status_code == 401 and (token := _token(answer, client)):
            headers["authorization"] = f"Bearer {token}"
            answer = client.get(url, headers=headers)
    check_answer(answer, field=field, name=name)
    layers = _layers(answer, source, field=field, name=name)
    allowed = {key: value for key, value in headers.items() if key == "authorization"}

    def open_file(path: str, target: str) -> HttpFile:
        layer = layers[path]
        digest = layer["digest"]
        return HttpFile(
            field=field,
            target=target,
            name=f"{name}/{path}",
            identity=digest,
            size=layer["size"],
            sha256=digest.removeprefix("sha256:") if digest.startswith("sha256:") else None,
            client=client,
            url=f"{base}/blobs/{digest}",
            headers=allowed,
        )

    revision = answer.headers.get("docker-content-digest", source.reference)
    return Listing(name, [Entry(path, layer["size"]) for path, layer in layers.items()], open_file, revision)


def _layers(answer: httpx.Response, source: RegistrySource, *, field: str, name: str) -> Mapping[str, Any]:
    try:
        layers = [dict(layer) for layer in answer.json()["layers"]]
        titles = [str((layer.get("annotations") or {}).get(_TITLE) or "") for layer in layers]
    except (ValueError, KeyError, TypeError, AttributeError):
        layers, titles = [], []
    if not layers or not all(map(_is_descriptor, layers)):
        raise FetchError("InvalidSource", f"{field}: {name} is no artifact with files; push one with oras")
    if source.one_file and len(layers) == 1:
        return {titles[0] or PurePosixPath(source.repository).name: layers[0]}
    if source.one_file or not all(titles) or any((layer.get("annotations") or {}).get(_UNPACK) for layer in layers):
        problem = "has several layers; write oci:// for it" if source.one_file else "has layers that are no files"
        raise FetchError("InvalidSource", f"{field}: {name} {problem}; push the files themselves with oras")
    if any(PurePosixPath(title).is_absolute() or ".." in PurePosixPath(title).parts for title in titles):
        raise FetchError("InvalidSource", f"{field}: {name} has files that lie outside its own folder; push it anew")
    return dict(zip(titles, layers, strict=True))


def _is_descriptor(layer: Mapping[str, Any]) -> bool:
    """Return whether a layer says what it is, and how large (opencontainers/image-spec)."""
    digest, size = layer.get("digest"), layer.get("size")
    return isinstance(digest, str) and _DIGEST.fullmatch(digest) is not None and isinstance(size, int) and size >= 0


def _token(answer: httpx.Response, client: httpx.Client) -> str | None:
    """Return the token that a registry hands to everybody (distribution's token authentication)."""
    challenge = dict(_CHALLENGE.findall(answer.headers.get("www-authenticate", "")))
    realm = challenge.pop("realm", "")
    if not realm:
        return None
    given = client.get(realm, params={key: challenge[key] for key in ("service", "scope") if key in challenge})
    try:
        found = given.json() if given.is_success else {}
        token = found.get("token") or found.get("access_token")
    except (ValueError, AttributeError):
        return None
    return token if isinstance(token, str) else None
