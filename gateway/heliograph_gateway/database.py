"""The database that holds what outlives a request.

The tables are made where they are missing and stamped with `SCHEMA_VERSION`; a database with another stamp is refused.
"""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Executable, UpdateBase, event, func, insert, make_url, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.schema import CreateIndex, CreateTable

from heliograph_gateway.tables import SCHEMA_VERSION, metadata, schema_version

T = TypeVar("T")

_BUSY_SECONDS = 10
"""How long a statement waits for another process that writes to the same SQLite file."""
_QUEUE_SECONDS = 60
"""How long a transaction waits for those before it."""


class StateError(Exception):
    """State that cannot be used; the message names the setting, the problem and the remedy."""


class Database:
    """A database, by SQLAlchemy's Core."""

    def __init__(self, url: str | URL) -> None:
        """Prepare the database at a URL, such as `sqlite:////var/lib/heliograph/gateway.sqlite3`; nothing is opened."""
        self._url = make_url(url).set(drivername="sqlite+aiosqlite")
        self._engine = self._make_engine()
        self._running: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Make what is missing of the tables.

        Raises:
            StateError: The database cannot be used, or was made by another version.
        """
        try:
            _make_private(Path(self._url.database or ""))
            await self.run(_make_tables)
            found = await self._stamp()
        except OSError as error:
            raise StateError(
                f"{self._shown} cannot be used: {error.strerror}; name a file that can be written"
            ) from None
        except DBAPIError as error:
            raise StateError(
                f"{self._shown} cannot be used: {error.orig}; move what is there away, or name another file"
            ) from None
        if found != SCHEMA_VERSION:
            raise StateError(
                f"{self._shown} is of another version of Heliograph (schema {found}, this one's is {SCHEMA_VERSION}); "
                "run that version, or move the database away"
            )

    async def aclose(self) -> None:
        """Close all connections, once the transactions at work have ended."""
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._engine.dispose()

    async def run(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Return what `work` does with a connection in one transaction, which is committed unless it raises.

        It runs to its end even if the caller is cancelled meanwhile, as a request's task is when its client leaves: a
        connection that is dropped within a transaction could keep its lock on the database.
        """
        transaction = asyncio.create_task(self._transact(work))
        self._running.add(transaction)
        transaction.add_done_callback(self._running.discard)
        return await asyncio.shield(transaction)

    async def rows(self, statement: Executable) -> Sequence[Any]:
        """Return the rows that a statement returns, as SQLAlchemy's named tuples."""

        async def work(connection: AsyncConnection) -> Sequence[Any]:
            return (await connection.execute(statement)).all()

        return await self.run(work)

    async def change(self, statement: UpdateBase) -> int:
        """Return how many rows a statement changed."""

        async def work(connection: AsyncConnection) -> int:
            return (await connection.execute(statement)).rowcount

        return await self.run(work)

    async def _transact(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        async with self._engine.begin() as connection:
            return await work(connection)

    @property
    def _shown(self) -> str:
        return f"database_url: {self._url.render_as_string(hide_password=True)}"

    def _make_engine(self) -> AsyncEngine:
        # SQLite takes one writer at a time: several connections would only keep trying for its lock.
        engine = create_async_engine(
            self._url, connect_args={"timeout": _BUSY_SECONDS}, pool_size=1, max_overflow=0, pool_timeout=_QUEUE_SECONDS
        )

        @event.listens_for(engine.sync_engine, "connect")
        def prepare(connection: Any, _record: Any) -> None:
            try:
                # Readers go on beside a writer, and a commit survives the process's death, if not the machine's.
                with contextlib.closing(connection.cursor()) as cursor:
                    cursor.execute("PRAGMA journal_mode=WAL")
                    cursor.execute("PRAGMA synchronous=NORMAL")
            except Exception:
                # Nobody else has the connection yet, and it has a thread.
                connection.close()
                raise

        return engine

    async def _stamp(self) -> int:
        """Return the schema's version, which a new database gets here."""
        ((found,),) = await self.rows(select(func.max(schema_version.c.version)))
        if found is not None:
            return int(found)
        try:
            await self.change(insert(schema_version).values(version=SCHEMA_VERSION))
        except IntegrityError:
            # Another process opened the same new database at the same time.
            return await self._stamp()
        return SCHEMA_VERSION


async def _make_tables(connection: AsyncConnection) -> None:
    for table in metadata.sorted_tables:
        await connection.execute(CreateTable(table, if_not_exists=True))
        for index in table.indexes:
            await connection.execute(CreateIndex(index, if_not_exists=True))


def _make_private(path: Path) -> None:
    """Make a new database file readable for its owner alone; SQLite gives its other files the same mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
