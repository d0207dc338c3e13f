"""Fetching all parts of a model."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

import httpx

from heliograph_api.sources import BucketSource, RegistrySource, RepositorySource, UrlSource
from heliograph_api.weights import Part
from heliograph_runtime.weights.bucket import list_bucket
from heliograph_runtime.weights.choice import INDEX, choose_gguf, choose_snapshot, read_index
from heliograph_runtime.weights.download import bring
from heliograph_runtime.weights.errors import FetchError
from heliograph_runtime.weights.hub import list_repository
from heliograph_runtime.weights.listing import Listing
from heliograph_runtime.weights.modelscope import list_modelscope
from heliograph_runtime.weights.progress import Progress
from heliograph_runtime.weights.registry import list_artifact
from heliograph_runtime.weights.remote import RemoteFile
from heliograph_runtime.weights.urls import find_http_file
from heliograph_runtime.weights.volume import Receipt, Volume

_TOGETHER = 4
_TIMEOUT = httpx.Timeout(60.0, connect=20.0)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Access:
    """How sources are reached.

    Attributes:
        hub_endpoint: Hugging Face's hub, or a mirror of it; its own address when None.
        hub_token: What it knows the reader by.
        modelscope_endpoint: Likewise for ModelScope.
        modelscope_token: Likewise.
    """

    hub_endpoint: str | None = None
    hub_token: str | None = None
    modelscope_endpoint: str | None = None
    modelscope_token: str | None = None


class Fetcher:
    """Fetches models into a volume."""

    def __init__(self, volume: Volume, access: Access) -> None:
        self._volume = volume
        self._access = access
        self._client = httpx.Client(timeout=_TIMEOUT, follow_redirects=True, headers={"user-agent": "heliograph"})

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def fetch(self, name: str, parts: Sequence[Part], *, half: bool, progress: Progress) -> Receipt:
        """Fetch the parts of a model into a folder of the volume, unless that is there.

        Args:
            name: Name of the folder.
            parts: What is fetched.
            half: Whether weights in half precision are wanted where a repository has both.
            progress: Told of what arrives.

        Raises:
            FetchError: A part can't be had; what there is of it is kept for the next time.
        """
        if receipt := Receipt.read(self._volume.folder(name)):
            return receipt
        files: list[RemoteFile] = []
        revisions: dict[str, str] = {}
        for part in parts:
            found, revision = self._find(part, half=half)
            files += found
            if revision:
                revisions[part.field] = revision
        self._check_room(files)
        sizes = [file.size for file in files]
        progress.expect(None if None in sizes else sum(size or 0 for size in sizes))
        digests = self._bring(files, progress.add)
        return self._volume.assemble(name, digests, revisions=revisions)

    def _find(self, part: Part, *, half: bool) -> tuple[list[RemoteFile], str]:
        """Return the files of a part, and the commit that they are of."""
        source = part.source
        if isinstance(source, UrlSource):
            file = find_http_file(self._client, source.url, field=part.field, target=part.target, sha256=part.sha256)
            return [file], ""
        listing, one, below = self._list(part)
        if one is not None:
            return [_checked(listing.open(one, part.target), part)], listing.revision
        entries = [entry for entry in listing.entries if entry.path.startswith(below)]
        if not entries:
            raise FetchError(
                "WeightsNotFound", f"{part.field}: {listing.name} has no {below.rstrip('/')}; correct the path"
            )
        return self._of_folder(listing, part, below=below, half=half), listing.revision

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
                listing = list_artifact(source, field=field, client=client)
                return listing, listing.entries[0].path if source.one_file else None, ""
            case BucketSource() as source:
                listing = list_bucket(source, field=field, environment=os.environ)
                is_file = bool(source.key) and not source.key.endswith("/")
                return listing, listing.entries[0].path if is_file else None, ""
            case _:
                raise FetchError("InvalidSource", f"{field}: this kind of source is not fetched")

    def _of_folder(self, listing: Listing, part: Part, *, below: str, half: bool) -> list[RemoteFile]:
        entries = [
            replace(entry, path=entry.path.removeprefix(below))
            for entry in listing.entries
            if entry.path.startswith(below)
        ]
        index = None
        if any(entry.path == INDEX for entry in entries):
            index = read_index(b"".join(listing.open(below + INDEX, INDEX).read(0)))
        chosen = choose_snapshot(entries, index, part=part, repo=listing.name, half=half)
        return [listing.open(below + path, f"{part.target}/{path}") for path in chosen]

    def _check_room(self, files: Sequence[RemoteFile]) -> None:
        missing = {
            file.key: (file.size or 0) - self._volume.partial_bytes(file.key)
            for file in files
            if not (file.sha256 and self._volume.blob(file.sha256)) and not self._volume.known(file.key)
        }
        needed, free = sum(missing.values()), self._volume.free_bytes
        if needed > free:
            raise FetchError(
                "DiskFull",
                f"the weights need {needed / 1e9:.1f} GB more, and the volume has {free / 1e9:.1f} GB left; make it "
                "larger, or remove models that share it",
            )

    def _bring(self, files: Sequence[RemoteFile], on_bytes: Callable[[int], None]) -> Mapping[str, str]:
        with ThreadPoolExecutor(_TOGETHER, thread_name_prefix="fetch") as pool:
            tasks = {pool.submit(bring, file, self._volume, on_bytes=on_bytes): file for file in files}
            done, waiting = wait(tasks, return_when=FIRST_EXCEPTION)
            for task in waiting:
                task.cancel()
            return {tasks[task].target: task.result() for task in done}


def _checked(file: RemoteFile, part: Part) -> RemoteFile:
    """Return a file with the digest that the ImageModel names, which must not differ from the hub's."""
    if part.sha256 and file.sha256 and part.sha256 != file.sha256:
        raise FetchError(
            "ChecksumMismatch",
            f"{part.field}: {file.name} has the SHA-256 {file.sha256}, not {part.sha256}; correct the digest",
        )
    return replace(file, sha256=part.sha256 or file.sha256)
