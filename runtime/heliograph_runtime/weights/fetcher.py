"""Fetching all parts of a model."""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import PurePosixPath
from threading import Event

import httpx

from heliograph_api.weights import Part
from heliograph_runtime.weights.content import check_content
from heliograph_runtime.weights.download import Stopped, bring, too_large
from heliograph_runtime.weights.errors import FetchError
from heliograph_runtime.weights.finding import Access, Finder
from heliograph_runtime.weights.lacking import find_lacking
from heliograph_runtime.weights.progress import Progress
from heliograph_runtime.weights.remote import RemoteFile
from heliograph_runtime.weights.volume import Receipt, Volume

_TOGETHER = 4
_TIMEOUT = httpx.Timeout(60.0, connect=20.0)

log = logging.getLogger(__name__)


class Fetcher:
    """Fetches models into a volume."""

    def __init__(self, volume: Volume, access: Access, *, max_bytes: int | None = None) -> None:
        """Prepare to fetch.

        Args:
            volume: Where to.
            access: How sources are reached.
            max_bytes: Most bytes that a model may have; None for any number.
        """
        self._volume = volume
        self._client = httpx.Client(timeout=_TIMEOUT, follow_redirects=True, headers={"user-agent": "heliograph"})
        self._finder = Finder(self._client, access)
        self._max_bytes = max_bytes

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def fetch(
        self, name: str, parts: Sequence[Part], *, half: bool, progress: Progress, checkpoint: str | None = None
    ) -> Receipt:
        """Fetch the parts of a model into a folder of the volume, unless that is there.

        Args:
            name: Name of the folder.
            parts: What is fetched.
            half: Whether weights in half precision are wanted where a repository has both.
            progress: Told of what arrives.
            checkpoint: Place of the file, or of the folder with the one file, that the diffusers engine will load: what
                it lacks beside that is fetched as well.

        Raises:
            FetchError: A part can't be had; what there is of it is kept for the next time.
            OSError: The volume can't be written.
        """
        if receipt := Receipt.read(self._volume.folder(name)):
            progress.expect(receipt.bytes)
            progress.add(receipt.bytes)
            return receipt
        with self._volume.in_use():
            files: list[RemoteFile] = []
            revisions: dict[str, str] = {}
            for part in parts:
                found = self._finder.find(part, half=half)
                files += found.files
                if found.revision:
                    revisions[part.field] = found.revision
            self._volume.begin(name, (file.key for file in files))
            digests = self._bring(files, files, progress)
            if checkpoint and (place := _single_file(checkpoint, digests)):
                lacking, revision = self._find_lacking(place, digests, half=half)
                self._volume.begin(name, (file.key for file in lacking))
                digests |= self._bring(lacking, [*files, *lacking], progress)
                revisions |= revision
            return self._volume.assemble(name, digests, revisions=revisions)

    def _find_lacking(
        self, place: str, digests: Mapping[str, str], *, half: bool
    ) -> tuple[list[RemoteFile], dict[str, str]]:
        """Return the files that a checkpoint lacks, and their commit by what they are."""
        blob = self._volume.blob(digests[place])
        lacking = find_lacking(blob, place=place, places=digests) if blob else None
        if lacking is None:
            return [], {}
        try:
            found = self._finder.find_lacking(lacking.part, lacking.held, half=half)
        except FetchError as error:
            raise FetchError(
                error.reason,
                f"{error} ({place} is a {lacking.title} checkpoint without configs, which are looked for there)",
                passes=error.passes,
            ) from None
        log.info("%s is a %s checkpoint: what it lacks is fetched too", place, lacking.title)
        return found.files, {f"{lacking.part.field} (configs)": found.revision}

    def _bring(self, files: Sequence[RemoteFile], expected: Sequence[RemoteFile], progress: Progress) -> dict[str, str]:
        """Bring files to the volume, several at once; return their digests by their places.

        Args:
            files: The files.
            expected: All files that the model is known to have.
            progress: Told of what arrives.
        """
        sizes = [file.size for file in expected]
        total = None if None in sizes else sum(size or 0 for size in sizes)
        if self._max_bytes is not None and (total or 0) > self._max_bytes:
            raise too_large(f"{files[0].field}: the model", self._max_bytes)
        self._check_room(files)
        progress.expect(total)
        stop = Event()
        with ThreadPoolExecutor(_TOGETHER, thread_name_prefix="fetch") as pool:
            tasks = {
                pool.submit(
                    bring, file, self._volume, progress=progress, most=self._max_bytes, stop=stop, pause=stop.wait
                ): file
                for file in files
            }
            done, waiting = wait(tasks, return_when=FIRST_EXCEPTION)
            stop.set()
            for task in waiting:
                task.cancel()
        for task in done:
            if (error := task.exception()) and not isinstance(error, Stopped):
                raise error
        for task, file in tasks.items():
            check_content(self._volume.blob(task.result()), file)
        return {file.target: task.result() for task, file in tasks.items()}

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
                f"{files[0].field}: the weights need {needed / 1e6:,.0f} MB more, and the volume has {free / 1e6:,.0f} "
                "MB left; make it larger, or remove models that share it",
                passes=True,
            )


def _single_file(model: str, places: Mapping[str, str]) -> str | None:
    """Return the place of the one safetensors file that `parameters.model` is or has in its folder; None for others."""
    if model in places:
        return model if PurePosixPath(model).suffix == ".safetensors" else None
    below = [place for place in places if place.startswith(f"{model}/")]
    weights = [place for place in below if PurePosixPath(place).suffix == ".safetensors"]
    has_index = f"{model}/model_index.json" in below
    return weights[0] if len(weights) == 1 and not has_index else None
