"""The record of what was used: sums by UTC hour, API key and model, in the database.

Sums are kept in memory for a moment and written together, so that no request waits for the database; while that is
away, they wait.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import delete
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from heliograph_api.usage import Usage
from heliograph_gateway.cancelling import is_set_within
from heliograph_gateway.database import Database, StateUnavailableError
from heliograph_gateway.tables import usage_hours
from heliograph_gateway.usage.sums import DAY, HOUR, Group, Total, read_totals

logger = logging.getLogger(__name__)

_WRITE_SECONDS = 2.0
_LAST_ATTEMPTS = 3
_MOST_WAITING = 100_000
"""Most sums that are kept in memory; 1,000 keys that use 4 models each fill it in a day without a database."""
_AT_ONCE = 500
"""Rows of a statement; SQLite takes up to 32,766 values in one, PostgreSQL 32,767."""
_SUMMED = ("requests", "images", "pixels", "steps", "seconds", "gpu_seconds")

Outage = (StateUnavailableError, SQLAlchemyError, OSError)


class _Place(NamedTuple):
    """What a sum is of: the primary key of its row."""

    hour: int
    key: str
    namespace: str
    model: str


@dataclass(frozen=True)
class _Sum:
    requests: int
    used: Usage

    def __add__(self, other: "_Sum") -> "_Sum":
        return _Sum(self.requests + other.requests, self.used + other.used)


class Ledger:
    """The record, and the sums that are on their way there."""

    def __init__(self, database: Database, *, days: int, now: Callable[[], float] = time.time) -> None:
        """Record in `database`.

        Args:
            database: The database.
            days: How long a sum is kept.
            now: Returns seconds since 1970.
        """
        self._database = database
        self._days = days
        self._now = now
        self._waiting: dict[_Place, _Sum] = {}
        self._lost = 0
        self._closing = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()

    @property
    def lost(self) -> int:
        """Return how many requests could not be recorded, for want of memory while the database was away."""
        return self._lost

    def open(self) -> None:
        """Begin to write."""
        self._closing.clear()
        self._writer = asyncio.create_task(self._write(), name="usage")

    async def aclose(self) -> None:
        """Write what waits, and stop; what cannot be written by then is told in the log."""
        if self._writer is None:
            return
        self._closing.set()
        await self._writer
        self._writer = None
        for attempt in range(_LAST_ATTEMPTS):
            with contextlib.suppress(*Outage):
                await self.flush()
                return
            await asyncio.sleep(attempt)
        for place, total in sorted(self._waiting.items()):
            logger.error(
                "usage that could not be recorded: %s requests=%d %s", place, total.requests, total.used.text()
            )

    def add(self, key: str, model: tuple[str, str], used: Usage) -> None:
        """Add what one request used.

        Args:
            key: Name of the API key; empty for none.
            model: Namespace and name.
            used: What was used.
        """
        self._put(_Place(int(self._now()) // HOUR * HOUR, key, *model), _Sum(1, used))

    async def flush(self) -> None:
        """Write what waits, in one transaction.

        Raises:
            StateUnavailableError: The database is away; nothing was written, and all of it still waits.
        """
        # The transaction goes on when the caller is cancelled, and so must the look at how it ended.
        await asyncio.shield(asyncio.ensure_future(self._flush()))

    async def totals(
        self,
        *,
        start: int,
        end: int,
        width: int,
        group_by: Collection[Group] = (),
        models: Collection[tuple[str | None, str]] = (),
        keys: Collection[str] | None = None,
    ) -> list[Total]:
        """Return what was used, as `read_totals` does, with what waits to be written here.

        Raises:
            StateUnavailableError: The database is away.
        """
        await self.flush()
        return await read_totals(
            self._database, start=start, end=end, width=width, group_by=group_by, models=models, keys=keys
        )

    async def delete_old(self) -> int:
        """Delete what is older than it is kept, and return the number of rows."""
        oldest = int(self._now()) // HOUR * HOUR - self._days * DAY
        return await self._database.change(delete(usage_hours).where(usage_hours.c.hour < oldest))

    def _put(self, place: _Place, total: _Sum) -> None:
        former = self._waiting.get(place)
        if former is None and len(self._waiting) >= _MOST_WAITING:
            if not self._lost:
                logger.error("usage is lost: the database has been away for too long")
            self._lost += total.requests
            return
        self._waiting[place] = former + total if former else total

    async def _write(self) -> None:
        while not self._closing.is_set():
            await is_set_within(self._closing, _WRITE_SECONDS)
            try:
                await self.flush()
            except StateUnavailableError:
                continue  # the database tells of it once
            except Exception:
                logger.exception("usage could not be recorded yet")

    async def _flush(self) -> None:
        async with self._one_at_a_time:
            if not self._waiting:
                return
            batch, self._waiting = self._waiting, {}
            # In one order everywhere: two gateways that lock rows in different orders wait for each other for ever.
            rows = [_row(place, total) for place, total in sorted(batch.items())]
            try:
                await self._database.run(lambda connection: self._upsert(connection, rows))
            except Exception:
                for place, total in batch.items():
                    self._put(place, total)
                raise

    async def _upsert(self, connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
        columns = usage_hours.c
        for start in range(0, len(rows), _AT_ONCE):
            insert = self._database.upsert(usage_hours).values(rows[start : start + _AT_ONCE])
            added = {name: columns[name] + insert.excluded[name] for name in _SUMMED}
            await connection.execute(
                insert.on_conflict_do_update(index_elements=list(usage_hours.primary_key.columns), set_=added)
            )


def _row(place: _Place, total: _Sum) -> dict[str, Any]:
    used = total.used
    return {
        **place._asdict(),
        "requests": total.requests,
        "images": used.images,
        "pixels": used.pixels,
        "steps": used.steps,
        "seconds": used.seconds,
        "gpu_seconds": used.gpu_seconds,
    }
