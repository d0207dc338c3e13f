"""What the gateway keeps between requests: files, links to them, video jobs and choices; and what it fetches."""

import asyncio
import logging
import os
from collections.abc import Awaitable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sqlalchemy import URL

from heliograph_api.errors import APIError
from heliograph_gateway.body import Bodies
from heliograph_gateway.choices import OwnerChoices
from heliograph_gateway.database import Database, StateError
from heliograph_gateway.fetching.fetcher import Fetcher
from heliograph_gateway.files.bucket import BucketStorage
from heliograph_gateway.files.folder import FolderStorage
from heliograph_gateway.files.links import Links
from heliograph_gateway.files.storage import Storage
from heliograph_gateway.files.store import FileStore
from heliograph_gateway.installation import installation_id
from heliograph_gateway.jobs.repository import VideoJobs
from heliograph_gateway.keys.keyring import Keyring
from heliograph_gateway.keys.quotas import Quotas
from heliograph_gateway.settings import GatewaySettings
from heliograph_gateway.usage.ledger import Ledger

logger = logging.getLogger(__name__)

_COLLECT_SECONDS = 60.0


class State:
    """The parts that outlive a request, opened and closed together.

    Attributes:
        files: Pictures and clips that are answered as URLs.
        links: What signs and checks those URLs.
        jobs: Video jobs.
        choices: What an owner of requests chose.
        keyring: The API keys.
        quotas: How many pictures each of them has drawn.
        usage: What each of them used.
        bodies: Reads the bodies of requests, within bounds that all of them share.
        fetcher: Gets input images that are given by URL.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        """Prepare everything; nothing is written before `open`."""
        self._data_dir = settings.data_dir
        self._alone = not settings.database_url and not settings.files_url
        self._database = Database(
            settings.database_url.get_secret_value()
            if settings.database_url
            else URL.create("sqlite", database=str(self._data_dir / "gateway.sqlite3"))
        )
        self._storage = _storage(settings)
        self.files = FileStore(
            self._storage,
            self._database,
            ttl=settings.file_ttl_seconds,
            most=settings.max_stored_bytes,
        )
        self.links = Links(settings)
        self.jobs = VideoJobs(self._database, ttl=settings.video_ttl_seconds)
        self.choices = OwnerChoices(self._database)
        self.keyring = Keyring(settings)
        self.quotas = Quotas(self._database)
        self.usage = Ledger(self._database, days=settings.usage_days)
        self.bodies = Bodies(settings)
        self.fetcher = Fetcher(settings)
        self._collector: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Make or find everything in the data folder, and begin to delete what expires; open already, do nothing.

        Raises:
            StateError: The data folder or the database cannot be used.
        """
        if self._collector:
            return
        try:
            self._open_folder()
            await self._database.open()
            # Files in the data folder beside their database are nobody else's.
            await self._storage.open(None if self._alone else await installation_id(self._database))
            self.links.open(self._data_dir / "signing.key", shared=self._database.shared)
            await self.keyring.open()
        except StateError:
            await self.aclose()
            raise
        self.usage.open()
        self._collector = asyncio.create_task(self._collect(), name="collector")

    async def aclose(self) -> None:
        """Close what is open."""
        if self._collector:
            self._collector.cancel()
            await asyncio.gather(self._collector, return_exceptions=True)
            self._collector = None
        await self.keyring.aclose()
        await self.usage.aclose()
        await self.fetcher.aclose()
        await self._database.aclose()

    def _open_folder(self) -> None:
        folder = self._data_dir
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(
                f"data_dir: {folder} cannot be used: {error.strerror}; name a folder that can be written"
            ) from None

    async def _collect(self) -> None:
        while True:
            files = await _unless_away(self.files.collect())
            jobs = await _unless_away(self.jobs.delete_expired())
            await _unless_away(self.quotas.delete_old())
            await _unless_away(self.usage.delete_old())
            if files or jobs:
                logger.info("deleted %d expired files and %d expired video jobs", files, jobs)
            await asyncio.sleep(_COLLECT_SECONDS)


async def _unless_away(collecting: Awaitable[int | None]) -> int:
    """Return how much was deleted; what cannot be deleted now is for the next time."""
    try:
        return await collecting or 0
    except APIError as error:
        logger.warning("what has expired is deleted later: %s", error.message)
    except Exception:
        # The next time comes, whatever this was: else nothing would be deleted any more.
        logger.exception("what has expired could not be deleted")
    return 0


def _storage(settings: GatewaySettings) -> Storage:
    url = settings.files_url
    if url is None:
        return FolderStorage(settings.data_dir / "files")
    if url.startswith("file:"):
        return FolderStorage(Path(unquote(urlsplit(url).path)), setting="files_url")
    return BucketStorage(url, os.environ)
