"""The file store: a folder with one file for each picture or clip, which the database keeps the list of.

A file's row is written before its bytes and goes after them. So whatever a killed process leaves behind is in the list,
and is collected when it expires.
"""

import asyncio
import contextlib
import logging
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from sqlalchemy import delete, func, insert, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from heliograph_api.errors import APIError
from heliograph_gateway.database import Database
from heliograph_gateway.tables import stored_files

logger = logging.getLogger(__name__)

MEDIA_TYPES = {"image/png": "png", "image/jpeg": "jpeg", "image/webp": "webp", "video/mp4": "mp4"}
"""Media types that are stored, each with the extension of its files' names."""

_ID = re.compile(r"file_[0-9a-f]{32}")
_REMOVED_AT_ONCE = 500

_C = stored_files.c


@dataclass(frozen=True)
class StoredFile:
    """A file in the store; times are in seconds since 1970.

    Attributes:
        id: Name in the store, which cannot be guessed.
        owner: Who it was made for; empty where no key is asked for.
        media_type: One of `MEDIA_TYPES`.
        size: Size in bytes.
        created_at: When it was stored.
        expires_at: When it will be deleted.
    """

    id: str
    owner: str
    media_type: str
    size: int
    created_at: int
    expires_at: int

    @property
    def name(self) -> str:
        """The file's name to a client, with the extension of its type."""
        return f"{self.id}.{MEDIA_TYPES[self.media_type]}"


_FIELDS = tuple(_C[name] for name in StoredFile.__dataclass_fields__)


class FileStore:
    """Files that expire."""

    def __init__(
        self, folder: Path, database: Database, *, ttl: int, most: int, now: Callable[[], float] = time.time
    ) -> None:
        """Prepare the store; nothing is opened.

        Args:
            folder: Where the files are; nothing else may be there.
            database: Where the list of them is.
            ttl: Seconds that a file is kept, unless it is stored for another time.
            most: Largest sum of their sizes in bytes; the oldest are deleted to keep to it.
            now: The clock.
        """
        self._folder = folder
        self._database = database
        self._ttl = ttl
        self._most = most
        self._now = now

    def open(self) -> None:
        """Make the folder; raise `OSError` if that cannot be done."""
        self._folder.mkdir(mode=0o700, exist_ok=True)

    async def put(self, content: bytes, *, media_type: str, owner: str = "", ttl: int | None = None) -> StoredFile:
        """Store a file; whoever reads it sees all of it or nothing.

        Args:
            content: Its bytes.
            media_type: One of `MEDIA_TYPES`.
            owner: Who it is made for.
            ttl: Seconds that it is kept; the store's own time when None.

        Raises:
            APIError: 507, there is no room.
        """
        if media_type not in MEDIA_TYPES:
            raise ValueError(f"{media_type} files are not stored")
        now = int(self._now())
        stored = StoredFile(
            id=f"file_{secrets.token_hex(16)}",
            owner=owner,
            media_type=media_type,
            size=len(content),
            created_at=now,
            expires_at=now + (self._ttl if ttl is None else ttl),
        )
        if stored.size > self._most:
            raise _full(f"a file of {stored.size} bytes is larger than the whole store may be")
        try:
            await self._remove(await self._record(stored))
            await asyncio.to_thread(self._write, stored.id, content)
        except (OSError, OperationalError) as error:
            with contextlib.suppress(OSError, OperationalError):
                await self.delete(stored.id)
            raise _full(str(error.strerror if isinstance(error, OSError) else error.orig)) from error
        return stored

    async def get(self, file_id: str) -> StoredFile | None:
        """Return a file that is there and has not expired, or None."""
        query = select(*_FIELDS).where(_C.id == file_id, _C.expires_at > int(self._now()))
        rows = await self._database.rows(query)
        return StoredFile(*rows[0]) if rows else None

    def path(self, file_id: str) -> Path:
        """Return where the bytes of a file are."""
        if not _ID.fullmatch(file_id):
            raise ValueError("not a file's id")
        return self._folder / file_id

    async def delete(self, file_id: str) -> None:
        """Delete a file; one that is gone already is no error."""
        await self._remove([file_id])

    async def collect(self) -> int:
        """Delete the files whose time is over, and return how many they were."""
        query = select(_C.id).where(_C.expires_at <= int(self._now())).limit(_REMOVED_AT_ONCE)
        count = 0
        while True:
            expired = [row.id for row in await self._database.rows(query)]
            if not expired:
                return count
            await self._remove(expired)
            count += len(expired)

    async def _record(self, stored: StoredFile) -> list[str]:
        """Write a file's row and return the files that have to go for it."""

        async def record(connection: AsyncConnection) -> list[str]:
            await connection.execute(insert(stored_files).values(**vars(stored)))
            surplus = int(await connection.scalar(select(func.sum(_C.size))) or 0) - self._most
            evicted: list[str] = []
            if surplus > 0:
                oldest = select(_C.id, _C.size).where(_C.id != stored.id).order_by(_C.number)
                async with connection.stream(oldest) as rows:
                    async for file_id, size in rows:
                        evicted.append(file_id)
                        surplus -= size
                        if surplus <= 0:
                            break
            return evicted

        evicted = await self._database.run(record)
        if evicted:
            logger.warning("the file store is full: %d files are deleted before their time", len(evicted))
        return evicted

    async def _remove(self, file_ids: Sequence[str]) -> None:
        for start in range(0, len(file_ids), _REMOVED_AT_ONCE):
            doomed = file_ids[start : start + _REMOVED_AT_ONCE]
            await asyncio.to_thread(self._unlink, doomed)
            await self._database.change(delete(stored_files).where(_C.id.in_(doomed)))

    def _write(self, file_id: str, content: bytes) -> None:
        path = self.path(file_id)
        partial = _partial(path)
        partial.touch(mode=0o600)
        partial.write_bytes(content)
        partial.replace(path)

    def _unlink(self, file_ids: Sequence[str]) -> None:
        for path in map(self.path, file_ids):
            path.unlink(missing_ok=True)
            _partial(path).unlink(missing_ok=True)


def _partial(path: Path) -> Path:
    return path.with_suffix(".part")


def _full(why: str) -> APIError:
    logger.error("a file cannot be stored: %s", why)
    return APIError(
        HTTPStatus.INSUFFICIENT_STORAGE,
        "The gateway cannot keep the result as a file, for want of room; ask for response_format b64_json, or try "
        "again later.",
        code="storage_full",
        headers={"x-should-retry": "false"},
    )
