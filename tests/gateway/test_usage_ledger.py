import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from gateway.states import Clock, opened
from heliograph_api.usage import Usage
from heliograph_gateway.backends import StateUnavailableError
from heliograph_gateway.database import Database
from heliograph_gateway.usage import ledger as module
from heliograph_gateway.usage.ledger import Ledger
from heliograph_gateway.usage.sums import DAY, HOUR, Total
from postgres import postgres_server

USED = Usage(images=1, pixels=4096, steps=4, seconds=0.5, gpu_seconds=1.0)
TINY = ("default", "tiny")
START = 1_800_000_000 // DAY * DAY


def make(database: Database, clock: Clock, *, days: int = 400) -> Ledger:
    return Ledger(database, days=days, now=clock)


async def totals(ledger: Ledger, **more: Any) -> list[Total]:
    return await ledger.totals(**{"start": START, "end": START + 30 * DAY, "width": HOUR, **more})


def test_sums_are_by_hour_key_and_model(database_place: Path | str) -> None:
    async def run() -> None:
        clock = Clock(START + 10.0)
        async with opened(database_place) as database:
            ledger = make(database, clock)
            ledger.add("alice", TINY, USED)
            ledger.add("alice", TINY, USED)
            await ledger.flush()
            ledger.add("alice", TINY, USED)
            ledger.add("bob", TINY, USED)
            ledger.add("", ("", "tiny"), USED)
            clock.time += HOUR
            ledger.add("alice", ("other", "tiny"), USED)

            everything = await totals(ledger)
            assert [(total.bucket * HOUR, total.requests) for total in everything] == [(START, 5), (START + HOUR, 1)]
            assert everything[0].used == Usage(images=5, pixels=5 * 4096, steps=20, seconds=2.5, gpu_seconds=5.0)
            by_both = await totals(ledger, group_by={"model", "key"}, width=DAY)
            assert [(total.model, total.key, total.requests) for total in by_both] == [
                (("", "tiny"), "", 1),
                (("default", "tiny"), "alice", 3),
                (("default", "tiny"), "bob", 1),
                (("other", "tiny"), "alice", 1),
            ]
            of_alice = await totals(ledger, keys=["alice"], models=[("default", "tiny")])
            assert [total.requests for total in of_alice] == [3]
            assert [total.requests for total in await totals(ledger, models=[(None, "tiny")], width=DAY)] == [6]
            assert await totals(ledger, keys=[]) == []
            assert await totals(ledger, start=START + 2 * HOUR) == []

    asyncio.run(run())


def test_two_gateways_write_the_same_sums(database_place: Path | str) -> None:
    async def run() -> None:
        clock = Clock(START)
        async with opened(database_place) as first, opened(database_place) as second:
            ledgers = [make(first, clock), make(second, clock)]
            for number in range(20):
                for ledger in ledgers:
                    ledger.add(f"key-{number % 7}", ("default", f"model-{number % 5}"), USED)
                await asyncio.gather(*(ledger.flush() for ledger in ledgers))
            (total,) = await totals(ledgers[0])
            assert (total.requests, total.used.images) == (40, 40)

    asyncio.run(run())


def test_what_waits_is_written_in_the_background_and_at_the_end(
    database_place: Path | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WRITE_SECONDS", 0.05)

    async def run() -> None:
        clock = Clock(START)
        async with opened(database_place) as database, opened(database_place) as other:
            ledger, reader = make(database, clock), make(other, clock)
            ledger.open()
            ledger.add("alice", TINY, USED)
            async with asyncio.timeout(30):
                while not await totals(reader):
                    pass
            monkeypatch.setattr(module, "_WRITE_SECONDS", 3600.0)
            await asyncio.sleep(0.2)
            ledger.add("alice", TINY, USED)
            await ledger.aclose()
            assert [total.requests for total in await totals(reader)] == [2]

    asyncio.run(run())


def test_a_caller_that_is_cancelled_changes_no_sum(database_place: Path | str) -> None:
    async def run() -> None:
        async with opened(database_place) as database:
            ledger = make(database, Clock(START))
            for _ in range(10):
                ledger.add("alice", TINY, USED)
                task = asyncio.create_task(ledger.flush())
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            assert [total.requests for total in await totals(ledger)] == [10]

    asyncio.run(run())


def test_the_database_may_be_away_for_a_while(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with postgres_server(tmp_path) as server:
        url = server.new_database()

        async def run() -> None:
            async with opened(url) as database:
                ledger = make(database, Clock(START))
                ledger.add("alice", TINY, USED)
                await ledger.flush()
                await asyncio.to_thread(server.stop)
                ledger.add("alice", TINY, USED)
                for _ in range(2):
                    with pytest.raises(StateUnavailableError):
                        await ledger.flush()
                ledger.add("bob", TINY, USED)
                await asyncio.to_thread(server.start)
                found = await totals(ledger, group_by={"key"})
                assert [(total.key, total.requests) for total in found] == [("alice", 2), ("bob", 1)]

        asyncio.run(run())
    assert len([line for line in caplog.messages if "is away" in line]) == 1


def test_memory_is_bounded_and_what_is_lost_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_MOST_WAITING", 2)

    async def run() -> None:
        async with opened(tmp_path / "gateway.sqlite3") as database:
            ledger = make(database, Clock(START))
            for key in ("a", "b", "c", "c", "a"):
                ledger.add(key, TINY, USED)
            assert ledger.lost == 2
            assert [total.requests for total in await totals(ledger)] == [3]

    asyncio.run(run())
    assert [line for line in caplog.messages if "usage is lost" in line]


def test_what_cannot_be_written_at_the_end_is_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    path = tmp_path / "gateway.sqlite3"

    async def run() -> None:
        async with opened(path) as database:
            ledger = make(database, Clock(START))
            ledger.open()
            await database.run(lambda connection: connection.exec_driver_sql("DROP TABLE usage_hours"))
            ledger.add("alice", TINY, USED)
            await ledger.aclose()

    asyncio.run(run())
    (line,) = [line for line in caplog.messages if "could not be recorded:" in line]
    assert "alice" in line
    assert USED.text() in line


def test_old_sums_are_deleted(database_place: Path | str) -> None:
    async def run() -> None:
        clock = Clock(START)
        async with opened(database_place) as database:
            ledger = make(database, clock, days=2)
            ledger.add("alice", TINY, USED)
            await ledger.flush()
            clock.time += 2 * DAY
            ledger.add("alice", TINY, USED)
            await ledger.flush()
            assert await ledger.delete_old() == 0
            clock.time += HOUR
            assert await ledger.delete_old() == 1
            assert [total.bucket * HOUR for total in await totals(ledger)] == [START + 2 * DAY]

    asyncio.run(run())
