"""What the gateway keeps between requests: files, links to them, video jobs and choices; and what it fetches."""

import asyncio
import logging

from sqlalchemy import URL
from sqlalchemy.exc import SQLAlchemyError

from heliograph_gateway.choices import OwnerChoices
from heliograph_gateway.database import Database, StateError
from heliograph_gateway.fetching.fetcher import Fetcher
from heliograph_gateway.files.links import Links
from heliograph_gateway.files.store import FileStore
from heliograph_gateway.jobs.repository import VideoJobs
from heliograph_gateway.settings import GatewaySettings

logger = logging.getLogger(__name__)

_COLLECT_SECONDS = 60.0


class State:
    """The parts that outlive a request, opened and closed together.

    Attributes:
        files: Pictures and clips that are answered as URLs.
        links: What signs and checks those URLs.
        jobs: Video jobs.
        choices: What an owner of requests chose.
        fetcher: Gets input images that are given by URL.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        """Prepare everything; nothing is written before `open`."""
        self._data_dir = settings.data_dir
        self._database = Database(
            settings.database_url.get_secret_value()
            if settings.database_url
            else URL.create("sqlite", database=str(self._data_dir / "gateway.sqlite3"))
        )
        self.files = FileStore(
            self._data_dir / "files",
            self._database,
            ttl=settings.file_ttl_seconds,
            most=settings.max_stored_bytes,
        )
        self.links = Links(settings)
        self.jobs = VideoJobs(self._database, ttl=settings.video_ttl_seconds)
        self.choices = OwnerChoices(self._database)
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
        except StateError:
            await self.aclose()
            raise
        self._collector = asyncio.create_task(self._collect(), name="collector")

    async def aclose(self) -> None:
        """Close what is open."""
        if self._collector:
            self._collector.cancel()
            await asyncio.gather(self._collector, return_exceptions=True)
            self._collector = None
        await self.fetcher.aclose()
        await self._database.aclose()

    def _open_folder(self) -> None:
        folder = self._data_dir
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.files.open()
            self.links.open(folder / "signing.key")
        except OSError as error:
            raise StateError(
                f"data_dir: {folder} cannot be used: {error.strerror}; name a folder that can be written"
            ) from None

    async def _collect(self) -> None:
        while True:
            try:
                files, jobs = await self.files.collect(), await self.jobs.delete_expired()
                if files or jobs:
                    logger.info("deleted %d expired files and %d expired video jobs", files, jobs)
            except (OSError, SQLAlchemyError):
                logger.exception("what has expired could not be deleted")
            await asyncio.sleep(_COLLECT_SECONDS)
