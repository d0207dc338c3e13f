"""Opened parts of the gateway's state, and a clock for them."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL

from heliograph_gateway.database import Database


@dataclass
class Clock:
    """A clock that stands still unless it is moved.

    Attributes:
        time: Seconds since 1970.
    """

    time: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.time


@contextlib.asynccontextmanager
async def opened(place: Path | str) -> AsyncIterator[Database]:
    """A database in a file or at a URL, open."""
    database = Database(place if isinstance(place, str) else URL.create("sqlite", database=str(place)))
    try:
        await database.open()
        yield database
    finally:
        await database.aclose()
