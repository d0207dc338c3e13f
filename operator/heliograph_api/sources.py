"""Where weights come from: how a source is written, and what it names.

The spellings are LocalAI's (`pkg/downloader/uri.go`), `oci://`, `s3://`, `pvc://` and `modelscope://` beside them.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

from heliograph_api.errors import SpecError

Hub = Literal["huggingface", "modelscope"]

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.DOTALL | re.IGNORECASE)
_WORD = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_REPOSITORY = re.compile(
    rf"(?P<repo>{_WORD}/{_WORD})(@(?P<early>[^/@:]+))?(:(?P<quantization>[A-Za-z0-9_.-]+)|/(?P<path>[^@]*))?(@(?P<late>[^@]+))?"
)
_HUB_PAGE = re.compile(r"/(?P<repo>[^/]+/[^/]+)(/(resolve|blob|tree)/(?P<revision>[^/]+)(/(?P<path>.*))?)?/?")
_HUB_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
"""Wider than S3's own rules, since others that speak its protocol have others."""
_REGISTRY = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:[0-9]+)?")
_ARTIFACT = re.compile(r"[A-Za-z0-9]+([._-]+[A-Za-z0-9]+)*(/[A-Za-z0-9]+([._-]+[A-Za-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class RepositorySource:
    """A repository of a model hub, or a part of it.

    Attributes:
        hub: The hub.
        repo: Owner and name.
        revision: Branch, tag or commit; None for the default branch.
        path: The one file or folder that is meant; None for the whole snapshot.
        quantization: The GGUF file that is meant, by what its name ends in, such as `Q4_0`.
    """

    hub: Hub
    repo: str
    revision: str | None = None
    path: str | None = None
    quantization: str | None = None


@dataclass(frozen=True)
class UrlSource:
    """One file behind a URL."""

    url: str


@dataclass(frozen=True)
class RegistrySource:
    """An artifact in an OCI registry.

    Attributes:
        registry: Host and port.
        repository: Path of the repository.
        reference: Tag, or digest with `sha256:`.
        one_file: Whether its only layer is the file that is meant (`ocifile://`).
    """

    registry: str
    repository: str
    reference: str
    one_file: bool = False


@dataclass(frozen=True)
class BucketSource:
    """An object of a bucket, or all below a prefix that ends in a slash.

    Attributes:
        bucket: Name of the bucket.
        key: Key or prefix; empty for all of the bucket.
    """

    bucket: str
    key: str


@dataclass(frozen=True)
class ClaimSource:
    """Files in a PersistentVolumeClaim of the model's namespace.

    Attributes:
        claim: Name of the claim.
        path: File or folder in it; empty for all of it.
    """

    claim: str
    path: str


@dataclass(frozen=True)
class LocalSource:
    """A file or folder of this machine, for `heliograph serve` alone."""

    path: str


Source = RepositorySource | UrlSource | RegistrySource | BucketSource | ClaimSource | LocalSource


def parse_source(text: str, *, field: str) -> Source | None:
    """Return the source that a text names with a scheme, or None for a text without one.

    Raises:
        SpecError: The scheme is unknown or not served, or what follows it is not complete.
    """
    text = text.strip()
    if text.startswith("hf.co/"):
        text = f"hf://{text.removeprefix('hf.co/')}"
    if text.startswith("github:"):
        return _github(text, field)
    match = _SCHEME.fullmatch(text)
    if not match:
        return None
    scheme, rest = match[1].lower(), match[2]
    if scheme in {"http", "https"}:
        return _url(text, field)
    if reader := _READERS.get(scheme):
        return reader(rest, field)
    why = _NOT_SERVED.get(scheme) or f"is not known; write one of {', '.join(f'{name}://' for name in _KNOWN)}"
    raise SpecError(field, f"the source {scheme}:// {why}")


def parse_repository(text: str, *, hub: Hub = "huggingface") -> RepositorySource | None:
    """Return the repository that a text names without a scheme: `OWNER/NAME`, and what may follow; None if it can't be.

    What may follow are `@REVISION`, `/PATH`, `:QUANTIZATION` and, after a path, `@REVISION`.
    """
    match = _REPOSITORY.fullmatch(text)
    if not match or (match["early"] and match["late"]):
        return None
    path = (match["path"] or "").strip("/") or None
    return RepositorySource(hub, match["repo"], match["early"] or match["late"], path, match["quantization"])


def _hub(hub: Hub) -> Callable[[str, str], Source]:
    def read(rest: str, field: str) -> Source:
        if found := parse_repository(rest, hub=hub):
            return found
        raise SpecError(
            field,
            "a repository is written OWNER/NAME, OWNER/NAME/FILE or OWNER/NAME:QUANTIZATION, such as "
            "hf://city96/FLUX.1-dev-gguf/flux1-dev-Q2_K.gguf; a revision follows an @",
        )

    return read


def _url(text: str, field: str) -> Source:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise SpecError(field, "is no URL; write https://HOST/PATH") from None
    if parts.username is not None or parts.password is not None:
        raise SpecError(field, "must not have a name or password in its URL, which anybody could read here")
    if not parts.hostname or parts.path in {"", "/"}:
        raise SpecError(field, "names no file; write https://HOST/PATH")
    if parts.hostname in _HUB_HOSTS and (page := _HUB_PAGE.fullmatch(parts.path)):
        path = unquote(page["path"] or "").strip("/") or None
        return RepositorySource("huggingface", unquote(page["repo"]), unquote(page["revision"] or "") or None, path)
    return UrlSource(text)


def _github(text: str, field: str) -> Source:
    match = re.fullmatch(rf"github:(?://)?({_WORD})/({_WORD})/([^@]+)(?:@([^@]+))?", text)
    if not match:
        raise SpecError(field, "a file on GitHub is written github:OWNER/NAME/PATH, with @BRANCH where it is not main")
    owner, name, path, branch = match.groups()
    return UrlSource(f"https://raw.githubusercontent.com/{owner}/{name}/{branch or 'main'}/{path}")


def _registry(*, one_file: bool) -> Callable[[str, str], Source]:
    def read(rest: str, field: str) -> Source:
        registry, _, rest = rest.partition("/")
        repository, at, digest = rest.partition("@")
        head, colon, tag = repository.rpartition(":")
        repository, tag = (head, tag) if colon else (repository, "latest")
        is_named = _REGISTRY.fullmatch(registry) and _ARTIFACT.fullmatch(repository) and _TAG.fullmatch(tag)
        if not is_named or (at and not _DIGEST.fullmatch(digest)):
            raise SpecError(
                field, "an artifact is written oci://HOST/REPOSITORY:TAG, or @sha256:DIGEST in place of :TAG"
            )
        return RegistrySource(registry, repository, digest or tag, one_file=one_file)

    return read


def _bucket(rest: str, field: str) -> Source:
    bucket, _, key = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise SpecError(field, "an object is written s3://BUCKET/KEY; a KEY that ends in a slash means all below it")
    return BucketSource(bucket, key)


def _claim(rest: str, field: str) -> Source:
    claim, _, path = rest.partition("/")
    if not claim or ".." in path.split("/"):
        raise SpecError(field, "files of a PersistentVolumeClaim are written pvc://CLAIM/PATH")
    return ClaimSource(claim, path.strip("/"))


def _local(rest: str, field: str) -> Source:
    if not rest.startswith("/"):
        raise SpecError(
            field, "a file of this machine is written with its whole path: file:///models/dream.safetensors"
        )
    return LocalSource(rest)


_READERS: Mapping[str, Callable[[str, str], Source]] = {
    "hf": _hub("huggingface"),
    "huggingface": _hub("huggingface"),
    "modelscope": _hub("modelscope"),
    "oci": _registry(one_file=False),
    "ocifile": _registry(one_file=True),
    "s3": _bucket,
    "pvc": _claim,
    "file": _local,
}
_KNOWN = ("hf", "https", "oci", "s3", "pvc", "modelscope", "file")
_NOT_SERVED = {
    "ollama": "holds language models in a layout of its own, of which nothing draws; name a repository, such as "
    "hf://OWNER/NAME/FILE.gguf",
}
