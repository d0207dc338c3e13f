"""How many pictures each key may draw in a day: counted in the database, so that several gateways count together."""

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningInsert

from heliograph_api.errors import APIError
from heliograph_gateway.database import Database, StateUnavailableError
from heliograph_gateway.keys.caller import Caller
from heliograph_gateway.tables import image_quotas

logger = logging.getLogger(__name__)


class Quotas:
    """The counts. Days are UTC's, and their numbers are those of `date.toordinal`."""

    def __init__(self, database: Database, *, now: Callable[[], float] = time.time) -> None:
        """Count in `database`; `now` returns seconds since 1970."""
        self._database = database
        self._now = now

    async def reserve(self, caller: Caller, images: int) -> int:
        """Count the pictures of a request before they are drawn, all of them or none, and return the day.

        Args:
            caller: Who makes the request; its `images_per_day` is the limit.
            images: How many pictures, 1 or more.

        Raises:
            APIError: 429 `insufficient_quota`, the day has not so many left.
        """
        day, most = day_of(self._now()), caller.images_per_day

        async def count(connection: AsyncConnection) -> int | None:
            # One statement decides: no other gateway comes between the look and the change.
            used: int | None = await connection.scalar(_counted(connection, caller.name, day, images, most))
            return used

        if most is not None and (images > most or await self._database.run(count) is None):
            raise self._refusal(caller, images)
        return day

    @asynccontextmanager
    async def reserved(self, caller: Caller, images: int) -> AsyncIterator[int | None]:
        """Reserve pictures as `reserve` does, and give them back if the `async with` block raises.

        What is yielded is the day; None where the caller has no quota, and nothing is counted.
        """
        if caller.images_per_day is None:
            yield None
            return
        day = await self.reserve(caller, images)
        try:
            yield day
        except BaseException:
            await self.give_back(caller.name, day, images)
            raise

    async def give_back(self, name: str, day: int, images: int) -> None:
        """Take back what was reserved for a key's name on a day, and was not drawn.

        While the database is away it stays counted, which the log says: what the request came to is told all the same.
        """
        columns = image_quotas.c
        change = (
            update(image_quotas)
            .where(columns.owner == name, columns.day == day, columns.used >= images)
            .values(used=columns.used - images)
        )
        try:
            await self._database.change(change)
        except StateUnavailableError:
            logger.warning("%d pictures of the key '%s' stay counted: the database is away", images, name)

    async def delete_old(self) -> int:
        """Delete the counts of days that are over, and return how many."""
        # Requests that began yesterday may still give back, and clocks differ.
        oldest = day_of(self._now()) - 2
        return await self._database.change(delete(image_quotas).where(image_quotas.c.day < oldest))

    def _refusal(self, caller: Caller, images: int) -> APIError:
        now = datetime.fromtimestamp(self._now(), UTC)
        midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), UTC)
        hours, minutes = divmod(max(1, int((midnight - now).total_seconds()) // 60), 60)
        many = f"{images} pictures are" if images > 1 else "1 picture is"
        return APIError(
            429,
            f"{many} more than is left today of the {caller.images_per_day} a day that the key '{caller.name}' may "
            f"draw; its quota begins anew at {midnight:%Y-%m-%dT%H:%M:%SZ}, in {hours} h {minutes} min.",
            type="insufficient_quota",
            code="insufficient_quota",
            headers={"x-should-retry": "false"},
        )


def day_of(seconds: float) -> int:
    """Return the day of a moment in seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC).toordinal()


def _counted(connection: AsyncConnection, owner: str, day: int, images: int, most: int | None) -> ReturningInsert[Any]:
    """Return the statement that adds to a count, or makes it, and returns it unless it would exceed `most`."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    columns = image_quotas.c
    statement: ReturningInsert[Any] = (
        insert(image_quotas)
        .values(owner=owner, day=day, used=images)
        .on_conflict_do_update(
            index_elements=[columns.owner, columns.day],
            set_={"used": columns.used + images},
            where=columns.used + images <= most,
        )
        .returning(columns.used)
    )
    return statement
