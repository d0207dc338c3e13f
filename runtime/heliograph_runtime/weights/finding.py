"""Finding out which files the parts of a model are."""

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import httpx

from heliograph_api.sources import BucketSource, LocalSource, RegistrySource, RepositorySource, UrlSource
from heliograph_api.weights import Part
from heliograph_runtime.weights.bucket import list_bucket
from heliograph_runtime.weights.choice import (
    INDEX,
    choose_gguf,
    choose_lacking,
    choose_snapshot,
    read_index,
    refuse_pickle,
)
from heliograph_runtime.weights.errors import FetchError
from heliograph_runtime.weights.hub import list_repository
from heliograph_runtime.weights.listing import Listing
from heliograph_runtime.weights.local import list_local
from heliograph_runtime.weights.modelscope import list_modelscope
from heliograph_runtime.weights.registry import list_artifact
from heliograph_runtime.weights.remote import RemoteFile
from heliograph_runtime.weights.urls import find_http_file


@dataclass(frozen=True)
class Access:
    """How sources are reached.

    Attributes:
        hub_endpoint: Hugging Face's hub, or a mirror of it; its own address when None.
        hub_token: What it knows the reader by.
        modelscope_endpoint: Likewise for ModelScope.
        modelscope_token: Likewise.
        plain_http_registries: OCI registries, as HOST:PORT, that are spoken to without TLS.
        local_files: Whether files of this machine may be named.
    """

    hub_endpoint: str | None = None
    hub_token: str | None = None
    modelscope_endpoint: str | None = None
    modelscope_token: str | None = None
    plain_http_registries: frozenset[str] = frozenset()
    local_files: bool = False


@dataclass(frozen=True)
class Found:
    """The files of a part.

    Attributes:
        files: The files.
        revision: The commit that they are of; empty where sources have none.
    """

    files: list[RemoteFile]
    revision: str = ""


class Finder:
    """Asks sources what they hold, and chooses from that."""

    def __init__(self, client: httpx.Client, access: Access) -> None:
        self._client = client
        self._access = access

    def find(self, part: Part, *, half: bool) -> Found:
        """Return the files of a part.

        Args:
            part: The part.
            half: Whether weights in half precision are wanted where a repository has both.

        Raises:
            FetchError: The source can't be asked, or has no such files.
        """
        if isinstance(part.source, UrlSource):
            url = part.source.url
            refuse_pickle(part.target, part=part, where=part.target)
            file = find_http_file(self._client, url, field=part.field, target=part.target, sha256=part.sha256)
            return Found([file])
        listing, one, below = self._list(part)
        if one is not None:
            refuse_pickle(one, part=part, where=f"{listing.name}/{one}")
            return Found([_checked(listing.open(one, part.target), part)], listing.revision)
        folder = _below(listing, below, part)
        index = _read_index(folder)
        chosen = choose_snapshot(folder.entries, index, part=part, repo=listing.name, half=half)
        return Found([folder.open(path, f"{part.target}/{path}") for path in chosen], listing.revision)

    def find_lacking(self, part: Part, held: Collection[str] | None, *, half: bool) -> Found:
        """Return the files of a pipeline's repository that a checkpoint in one file lacks; see `choose_lacking`.

        Raises:
            FetchError: The repository can't be had, or is none of a pipeline.
        """
        listing, _, _ = self._list(part)
        index = _read_index(listing)
        if index is None:
            raise FetchError("WeightsNotFound", f"{part.field}: {listing.name} has no {INDEX}")
        chosen = choose_lacking(listing.entries, index, held, part=part, repo=listing.name, half=half)
        return Found([listing.open(path, f"{part.target}/{path}") for path in chosen], listing.revision)

    def _list(self, part: Part) -> tuple[Listing, str | None, str]:
        """Return what a source holds, the one file of it that is meant, if one is, and else the folder that is."""
        field, client, access = part.field, self._client, self._access
        match part.source:
            case RepositorySource() as source:
                lists, endpoint, token = (
                    (list_modelscope, access.modelscope_endpoint, access.modelscope_token)
                    if source.hub == "modelscope"
                    else (list_repository, access.hub_endpoint, access.hub_token)
                )
                listing = lists(source, field=field, client=client, endpoint=endpoint, token=token)
                if source.quantization:
                    return listing, choose_gguf(listing.entries, source.quantization, part=part, repo=source.repo), ""
                is_file = any(entry.path == source.path for entry in listing.entries)
                return listing, source.path if is_file else None, f"{source.path}/" if source.path else ""
            case RegistrySource() as source:
                plain = source.registry in access.plain_http_registries
                listing = list_artifact(source, field=field, client=client, plain_http=plain)
                return listing, listing.entries[0].path if source.one_file else None, ""
            case BucketSource() as source:
                listing = list_bucket(source, field=field, environment=os.environ)
                is_file = bool(source.key) and not source.key.endswith("/")
                return listing, listing.entries[0].path if is_file else None, ""
            case LocalSource() as source if access.local_files:
                return list_local(source, field=field)
            case _:
                raise FetchError("InvalidSource", f"{field}: this kind of source is not fetched here; name another")


def _below(listing: Listing, folder: str, part: Part) -> Listing:
    """Return what a listing holds below a folder, by the paths in that.

    Raises:
        FetchError: It holds nothing there, or a path leads out of it.
    """
    entries = [
        replace(entry, path=entry.path.removeprefix(folder))
        for entry in listing.entries
        if entry.path.startswith(folder)
    ]
    if not entries:
        problem = f"{listing.name} has no {folder.rstrip('/')}; correct the path" if folder else "holds no file"
        raise FetchError("WeightsNotFound", f"{part.field}: {problem}")
    if any(
        ".." in PurePosixPath(entry.path).parts or entry.path.startswith("/") or "\0" in entry.path for entry in entries
    ):
        raise FetchError(
            "InvalidSource", f"{part.field}: {listing.name} has files that lie outside its own folder; name another"
        )
    return replace(listing, entries=entries, open=lambda path, target: listing.open(folder + path, target))


def _read_index(listing: Listing) -> dict[str, object] | None:
    if all(entry.path != INDEX for entry in listing.entries):
        return None
    return read_index(listing.open(INDEX, INDEX).read(0))


def _checked(file: RemoteFile, part: Part) -> RemoteFile:
    """Return a file with the digest that the ImageModel names, which must not differ from the hub's."""
    if part.sha256 and file.sha256 and part.sha256 != file.sha256:
        raise FetchError(
            "ChecksumMismatch",
            f"{part.field}: {file.name} has the SHA-256 {file.sha256}, not {part.sha256}; correct the digest",
        )
    return replace(file, sha256=part.sha256 or file.sha256)
