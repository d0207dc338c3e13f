"""The counts of pictures, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.states import Clock
from heliograph_api.errors import APIError
from heliograph_gateway.database import Database
from heliograph_gateway.keys.caller import Caller
from heliograph_gateway.keys.quotas import Quotas, day_of
from heliograph_gateway.tables import image_quotas

DAY = 86_400


@pytest.fixture
def url(database_place: Path | str) -> str:
    """The URL of a new database."""
    return f"sqlite:///{database_place}" if isinstance(database_place, Path) else database_place


@asynccontextmanager
async def opened(url: str, clock: Clock) -> AsyncIterator[Quotas]:
    database = Database(url)
    await database.open()
    try:
        yield Quotas(database, now=clock)
    finally:
        await database.aclose()


def caller(name: str = "a", images_per_day: int = 10) -> Caller:
    return Caller(name, frozenset(), images_per_day=images_per_day)


async def left(quotas: Quotas, who: Caller) -> int:
    """Return how many more pictures a caller may draw, by drawing them and giving them back."""
    count = 0
    while True:
        try:
            day = await quotas.reserve(who, 1)
        except APIError:
            break
        count += 1
    for _ in range(count):
        await quotas.give_back(who.name, day, 1)
    return count


def test_pictures_are_counted_by_name_and_given_back(url: str) -> None:
    async def scenario() -> None:
        async with opened(url, Clock()) as quotas:
            day = await quotas.reserve(caller(), 7)
            with pytest.raises(APIError) as refused:
                await quotas.reserve(caller(), 4)
            assert (refused.value.status, refused.value.code) == (429, "insufficient_quota")
            assert await left(quotas, caller()) == 3
            assert await left(quotas, caller("b", images_per_day=12)) == 12
            await quotas.give_back("a", day, 7)
            assert await left(quotas, caller()) == 10
            # More than there was is not given back.
            await quotas.give_back("a", day, 1)
            await quotas.give_back("nobody", day, 1)
            assert await left(quotas, caller()) == 10
            assert await left(quotas, caller(images_per_day=4)) == 4, "a lower limit holds at once"

    asyncio.run(scenario())


def test_a_block_that_raises_keeps_nothing(url: str) -> None:
    async def scenario() -> None:
        async with opened(url, Clock()) as quotas:
            with pytest.raises(ValueError, match="no"):
                async with quotas.reserved(caller(), 4):
                    raise ValueError("no")
            assert await left(quotas, caller()) == 10
            async with quotas.reserved(caller(), 4):
                pass
            assert await left(quotas, caller()) == 6

    asyncio.run(scenario())


def test_each_day_begins_anew_and_old_ones_are_deleted(url: str) -> None:
    async def scenario() -> None:
        clock = Clock(time=1_800_000_000 // DAY * DAY + DAY - 60)
        async with opened(url, clock) as quotas:
            yesterday = await quotas.reserve(caller(), 10)
            with pytest.raises(APIError, match=r"anew at 2027-01-16T00:00:00Z, in 0 h 1 min\."):
                await quotas.reserve(caller(), 1)
            clock.time += 120
            assert await left(quotas, caller()) == 10
            assert day_of(clock.time) == yesterday + 1
            # What began yesterday is given back to yesterday.
            await quotas.give_back("a", yesterday, 10)
            assert await left(quotas, caller()) == 10
            assert await quotas.delete_old() == 0
            clock.time += 2 * DAY
            assert await quotas.delete_old() == 1
            clock.time += DAY
            assert await quotas.delete_old() == 1
        database = Database(url)
        await database.open()
        assert await database.rows(image_quotas.select()) == []
        await database.aclose()

    asyncio.run(scenario())


def test_a_quota_is_exact_between_gateways(url: str) -> None:
    async def one(quotas: Quotas, images: int) -> int:
        try:
            await quotas.reserve(caller(images_per_day=100), images)
        except APIError:
            return 0
        return images

    async def scenario() -> None:
        clock = Clock()
        async with opened(url, clock) as first, opened(url, clock) as second:
            sizes = [1, 2, 3, 4] * 15
            got = await asyncio.gather(*(one(quotas, size) for size in sizes for quotas in (first, second)))
            assert sum(got) == 100
            assert await left(second, caller(images_per_day=100)) == 0

    asyncio.run(scenario())
