"""The two kinds of database: how each is connected to, locked and found to be away."""

import contextlib
import hashlib
import os
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from sqlalchemy import URL, event, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from heliograph_api.errors import APIError


class StateError(Exception):
    """State that cannot be used; the message names the setting, the problem and the remedy."""


class StateUnavailableError(APIError):
    """503: the database is away for a while, or has too much to do.

    Attributes:
        why: What is wrong, for the log.
        full: Whether its disk is full.
    """

    def __init__(self, why: str, *, full: bool = False) -> None:
        """Make the error that a client gets; it does not say `why`."""
        super().__init__(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The gateway cannot reach its database at the moment; try again in 5 s.",
            code="state_unavailable",
            headers={"Retry-After": "5"},
        )
        self.why = why
        self.full = full


class Sqlite:
    """SQLite in a file on a local file system.

    Attributes:
        engine: What connects to it.
        seconds: How long a transaction may take with the wait for those before it.
        remedy: What a person can do about a database that cannot be used.
    """

    seconds: float = 90
    remedy = "move what is there away, or name another file"

    def __init__(self, url: str | URL) -> None:
        """Prepare the database at `sqlite:///PATH`."""
        self._url = make_url(url).set(drivername="sqlite+aiosqlite")
        # SQLite takes one writer at a time: several connections would only keep trying for its lock. Their timeout is
        # for another process that writes to the same file.
        self.engine = create_async_engine(
            self._url,
            connect_args={"timeout": 10},
            pool_size=1,
            max_overflow=0,
            pool_timeout=60,
            hide_parameters=True,
        )
        event.listen(self.engine.sync_engine, "connect", _prepare_sqlite)

    def __str__(self) -> str:
        """Return the setting as it may be shown."""
        return f"database_url: {self._url.render_as_string(hide_password=True)}"

    def prepare(self) -> None:
        """Make a new file readable for its owner alone; SQLite gives its other files the same mode."""
        os.close(os.open(Path(self._url.database or ""), os.O_RDWR | os.O_CREAT, 0o600))

    async def lock(self, connection: AsyncConnection, _name: str) -> None:
        """Keep everybody else from writing until the transaction ends; it must not have begun."""
        await connection.exec_driver_sql("BEGIN IMMEDIATE")

    def may_try_again(self, _error: Exception) -> bool:
        """Return whether a transaction was taken back for another's sake; SQLite waits instead."""
        return False

    def outage(self, error: Exception) -> StateUnavailableError | None:
        """Return what to answer if it is the database that an error is about."""
        if isinstance(error, OperationalError):
            code = getattr(error.orig, "sqlite_errorname", "")
            return StateUnavailableError(str(error.orig), full=code == "SQLITE_FULL")
        if isinstance(error, (PoolTimeoutError, TimeoutError)):
            return StateUnavailableError("those who were first take too long")
        return None


class Postgres:
    """PostgreSQL.

    Attributes:
        engine: What connects to it.
        seconds: As `Sqlite` has it.
        remedy: Likewise.
    """

    seconds: float = 30
    remedy = "correct the URL, or see to it that the server answers and the role may create tables"

    # The server ends what the gateway has given up by then, so that no lock outlives it.
    _SESSION = {  # noqa: RUF012 - never changed
        "application_name": "heliograph-gateway",
        "statement_timeout": "25000",
        "lock_timeout": "15000",
        "idle_in_transaction_session_timeout": "30000",
    }
    _CONNECT_SECONDS = 5
    _TAKEN_BACK = frozenset({"40001", "40P01"})
    # Classes of SQLSTATE that tell of the server, not of the statement: connection, transaction taken back, resources,
    # intervention of an operator, system; and a server that takes no changes, as one does that has become a standby.
    _AWAY = frozenset({"08", "40", "53", "57", "58"})
    _READ_ONLY = "25006"
    _LOCKED = "55P03"
    _DISK_FULL = "53100"

    def __init__(self, url: str) -> None:
        """Prepare the database at a URL as libpq takes it."""
        self._url = url
        self.engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self._connect,
            pool_pre_ping=True,
            pool_size=5,
            max_overflow=5,
            pool_timeout=10,
            # Behind a balancer, connections find their way to new servers in time.
            pool_recycle=1800,
            hide_parameters=True,
        )

    def __str__(self) -> str:
        """Return the setting as it may be shown: without user, password and parameters."""
        parts = urlsplit(self._url)
        return f"database_url: {parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def prepare(self) -> None:
        """Do nothing: whoever runs the server makes the database."""

    async def lock(self, connection: AsyncConnection, name: str) -> None:
        """Wait until no other transaction has the lock of this name, and hold it until the transaction ends."""
        number = int.from_bytes(hashlib.sha256(f"heliograph {name}".encode()).digest()[:8], signed=True)
        await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({number})")

    def may_try_again(self, error: Exception) -> bool:
        """Return whether a transaction was taken back for another's sake, by all accounts without effect."""
        return _sqlstate(error) in self._TAKEN_BACK

    def outage(self, error: Exception) -> StateUnavailableError | None:
        """Return what to answer if it is the server that an error is about."""
        state = _sqlstate(error)
        away = (
            isinstance(error, (OSError, PoolTimeoutError, InterfaceError, asyncpg.InterfaceError))
            or (isinstance(error, DBAPIError) and error.connection_invalidated)
            # Raised as it is where there is no connection yet.
            or isinstance(error, asyncpg.PostgresError)
            or state[:2] in self._AWAY
            or state in {self._READ_ONLY, self._LOCKED}
        )
        return StateUnavailableError(_described(error), full=state == self._DISK_FULL) if away else None

    async def _connect(self) -> Any:
        return await asyncpg.connect(self._url, timeout=self._CONNECT_SECONDS, server_settings=self._SESSION)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    try:
        # Readers go on beside a writer, and a commit survives the process's death, if not the machine's.
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=NORMAL")
    except Exception:
        # Nobody else has the connection yet, and it has a thread.
        connection.close()
        raise


def _sqlstate(error: Exception) -> str:
    return str(getattr(_cause(error), "sqlstate", None) or "")


def _described(error: Exception) -> str:
    cause = _cause(error)
    if isinstance(cause, FileNotFoundError):
        # What fails to open it does not say its name.
        return "a file or socket that it names is not there (sslrootcert, sslcert, sslkey, host)"
    return " ".join(f"{type(cause).__name__}: {cause}".removesuffix(": ").split())


def _cause(error: Exception) -> BaseException:
    """Return what the driver raised."""
    found = error.orig if isinstance(error, DBAPIError) and error.orig else error
    return found.__cause__ if isinstance(found.__cause__, asyncpg.PostgresError | asyncpg.InterfaceError) else found
