"""The database that holds what outlives a request: SQLite in a file, or PostgreSQL, which several gateways share.

The tables are made where they are missing, and stamped with `SCHEMA_VERSION`. A database of an older version gets what
has been added since; one of a newer version is refused.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import URL, Executable, Table, UpdateBase
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from heliograph_gateway.backends import Postgres, Sqlite, StateError, StateUnavailableError
from heliograph_gateway.schema import make_tables
from heliograph_gateway.tables import SCHEMA_VERSION

__all__ = ["Database", "StateError", "StateUnavailableError"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[AsyncConnection], Awaitable[T]]

_ATTEMPTS = 4
"""How often a transaction is tried that PostgreSQL took back because another one was in its way."""


class Database:
    """A database, by SQLAlchemy's Core."""

    def __init__(self, url: str | URL) -> None:
        """Prepare the database at a URL; nothing is opened.

        Args:
            url: `sqlite:////var/lib/heliograph/gateway.sqlite3`, or `postgresql://USER:PASSWORD@HOST/DATABASE` with
                libpq's parameters, such as `sslmode=verify-full`.
        """
        self._backend = Postgres(url) if isinstance(url, str) and url.startswith("postgres") else Sqlite(url)
        self._engine = self._backend.engine
        self._running: set[asyncio.Task[Any]] = set()
        self._away = False

    @property
    def shared(self) -> bool:
        """Return whether gateways on several machines can work with it."""
        return isinstance(self._backend, Postgres)

    async def open(self) -> None:
        """Make what is missing of the tables.

        Raises:
            StateError: The database cannot be used, or was made by a newer version.
        """
        try:
            self._backend.prepare()
            found = await self.run(lambda connection: connection.run_sync(make_tables), lock="schema")
        except OSError as error:
            raise StateError(
                f"{self._backend} cannot be used: {error.strerror}; name a file that can be written"
            ) from None
        except (DBAPIError, StateUnavailableError) as error:
            raise StateError(f"{self._backend} cannot be used: {_reason(error)}; {self._backend.remedy}") from None
        if found > SCHEMA_VERSION:
            raise StateError(
                f"{self._backend} is of another version of Heliograph (schema {found}, this one's is "
                f"{SCHEMA_VERSION}); run that version, or move the database away"
            )

    async def aclose(self) -> None:
        """Close all connections, once the transactions at work have ended."""
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._engine.dispose()

    async def run(self, work: Work[T], *, lock: str | None = None) -> T:
        """Return what `work` does with a connection in one transaction, which is committed unless it raises.

        It runs to its end even if the caller is cancelled meanwhile, as a request's task is when its client leaves: a
        connection that is dropped within a transaction could keep its lock on the database. It may be called again,
        after its transaction was taken back, so it changes nothing but the database.

        Args:
            work: What to do. It raises what it likes; an `IntegrityError` of the database's comes through, too.
            lock: Name of what only one transaction of all gateways may work on at a time, for those that decide on
                something that they read; none when absent.

        Raises:
            StateUnavailableError: The database is away, or took too long.
        """
        transaction = asyncio.create_task(self._transact(work, lock))
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

    def upsert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """Return an INSERT with `on_conflict_do_update` and `excluded`, which both kinds of database spell alike."""
        return sqlite.insert(table) if isinstance(self._backend, Sqlite) else postgresql.insert(table)

    async def _transact(self, work: Work[T], lock: str | None) -> T:
        attempt = 1
        while True:
            try:
                async with asyncio.timeout(self._backend.seconds), self._engine.begin() as connection:
                    if lock:
                        await self._backend.lock(connection, lock)
                    done = await work(connection)
            except Exception as error:
                if attempt < _ATTEMPTS and self._backend.may_try_again(error):
                    attempt += 1
                    continue
                if (problem := self._backend.outage(error)) is None:
                    raise
                self._tell(away=True, why=problem.why)
                raise problem from error
            self._tell(away=False)
            return done

    def _tell(self, *, away: bool, why: str = "") -> None:
        """Log that the database went or came back, once each."""
        if away and not self._away:
            logger.error("%s is away: %s", self._backend, why)
        elif self._away and not away:
            logger.info("%s is back", self._backend)
        self._away = away


def _reason(error: Exception) -> str:
    if isinstance(error, StateUnavailableError):
        return error.why
    return str(error.orig) if isinstance(error, DBAPIError) else str(error)
