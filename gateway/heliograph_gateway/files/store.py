"""The file store: pictures and clips, whose list is in the database and whose bytes are in a folder or a bucket.

A file's row is written before its bytes and goes after them. So whatever a killed process leaves behind is in the list,
and is collected when it expires, by any gateway.
"""

import contextlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from http import HTTPStatus

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from heliograph_api.errors import APIError
from heliograph_gateway.database import Database, StateUnavailableError
from heliograph_gateway.files.storage import Storage, StorageUnavailableError, is_id
from heliograph_gateway.tables import stored_files

logger = logging.getLogger(__name__)

MEDIA_TYPES = {"image/png": "png", "image/jpeg": "jpeg", "image/webp": "webp", "video/mp4": "mp4"}
"""Media types that are stored, each with the extension of its files' names."""

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
        self, storage: Storage, database: Database, *, ttl: int, most: int, now: Callable[[], float] = time.time
    ) -> None:
        """Prepare the store; both parts of it are opened by their owner.

        Args:
            storage: Where the bytes are.
            database: Where the list of them is.
            ttl: Seconds that a file is kept, unless it is stored for another time.
            most: Largest sum of their sizes in bytes; the oldest are deleted to keep to it.
            now: The clock.
        """
        self._storage = storage
        self._database = database
        self._ttl = ttl
        self._most = most
        self._now = now

    async def put(self, content: bytes, *, media_type: str, owner: str = "", ttl: int | None = None) -> StoredFile:
        """Store a file; whoever reads it sees all of it or nothing.

        Args:
            content: Its bytes.
            media_type: One of `MEDIA_TYPES`.
            owner: Who it is made for.
            ttl: Seconds that it is kept; the store's own time when None.

        Raises:
            APIError: 507, there is no room; 503, the database or the bucket cannot be reached.
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
            await self._withdraw(await self._record(stored))
            await self._storage.write(stored.id, content, media_type=media_type)
            if await self.get(stored.id) is None and stored.expires_at > self._now():
                # It had to make room for others before it was there. Nothing else knows of its bytes.
                await self._storage.remove([stored.id])
                raise _full("files are deleted before they are written; max_stored_bytes is too small")
        except (OSError, StateUnavailableError, StorageUnavailableError) as error:
            with contextlib.suppress(OSError, StateUnavailableError):
                await self.delete(stored.id)
            raise _not_stored(error) from error
        return stored

    async def get(self, file_id: str) -> StoredFile | None:
        """Return a file that is there and has not expired, or None."""
        if not is_id(file_id):
            return None
        query = select(*_FIELDS).where(_C.id == file_id, _C.expires_at > int(self._now()))
        rows = await self._database.rows(query)
        return StoredFile(*rows[0]) if rows else None

    async def exists(self, stored: StoredFile) -> bool:
        """Return whether the bytes of a file are there."""
        return await self._storage.exists(stored.id)

    def reading(self, stored: StoredFile, start: int, stop: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Return what yields the bytes of a file from `start` up to `stop`; `FileNotFoundError` when there are none."""
        return self._storage.reading(stored.id, start, stop)

    async def delete(self, file_id: str) -> None:
        """Delete a file; one that is gone already is no error.

        Nobody gets it from then on. Its bytes go when it is collected, if they cannot be removed at once.
        """
        try:
            await self._withdraw([file_id])
        except (OSError, StorageUnavailableError) as error:
            logger.warning("a deleted file is removed later: %s", _reason(error))

    async def collect(self) -> int:
        """Delete the files whose time is over, and return how many they were.

        Raises:
            OSError: The folder cannot be used.
            APIError: 503, the database or the bucket cannot be reached.
        """
        query = select(_C.id).where(_C.expires_at <= int(self._now())).limit(_REMOVED_AT_ONCE)
        count = 0
        while True:
            expired = [row.id for row in await self._database.rows(query)]
            if not expired:
                return count
            count += await self._remove(expired)

    async def _record(self, stored: StoredFile) -> list[str]:
        """Write a file's row and return the files that have to go for it."""

        async def record(connection: AsyncConnection) -> list[str]:
            await connection.execute(insert(stored_files).values(**vars(stored)))
            # One statement sees the sum and the files as they are at one moment: others remove some meanwhile.
            oldest = select(_C.id, _C.size, func.sum(_C.size).over()).order_by(_C.number)
            evicted: list[str] = []
            removed = 0
            async with connection.stream(oldest) as rows:
                async for file_id, size, total in rows:
                    if total - removed <= self._most or file_id == stored.id:
                        break
                    evicted.append(file_id)
                    removed += size
            return evicted

        evicted = await self._database.run(record, lock="stored_files")
        if evicted:
            logger.warning("the file store is full: %d files are deleted before their time", len(evicted))
        return evicted

    async def _withdraw(self, file_ids: Sequence[str]) -> None:
        """Remove files whose time is not over."""
        for start in range(0, len(file_ids), _REMOVED_AT_ONCE):
            doomed = file_ids[start : start + _REMOVED_AT_ONCE]
            # Who writes one of them at this moment sees that it is gone, and removes its bytes again.
            await self._database.change(update(stored_files).where(_C.id.in_(doomed)).values(expires_at=0))
            await self._remove(doomed)

    async def _remove(self, file_ids: Sequence[str]) -> int:
        """Remove expired files and return how many of them were in the list: another gateway may be faster."""
        await self._storage.remove(file_ids)
        return await self._database.change(delete(stored_files).where(_C.id.in_(file_ids)))


_ADVICE = "ask for response_format b64_json, or try again later."
# A client that repeats the request has the picture drawn again.
_NO_RETRY = {"x-should-retry": "false"}


def _reason(error: OSError | StateUnavailableError | StorageUnavailableError) -> str:
    return str(error.strerror) if isinstance(error, OSError) else error.why


def _not_stored(error: OSError | StateUnavailableError | StorageUnavailableError) -> APIError:
    if isinstance(error, OSError) or (isinstance(error, StateUnavailableError) and error.full):
        return _full(_reason(error))
    logger.error("a file cannot be stored: %s", error.why)
    message = f"The gateway cannot keep the result as a file, as its store cannot be reached; {_ADVICE}"
    return APIError(error.status, message, code=error.code, headers=_NO_RETRY)


def _full(why: str) -> APIError:
    logger.error("a file cannot be stored: %s", why)
    return APIError(
        HTTPStatus.INSUFFICIENT_STORAGE,
        f"The gateway cannot keep the result as a file, for want of room; {_ADVICE}",
        code="storage_full",
        headers=_NO_RETRY,
    )
