"""The database as a server: what several gateways do with it at once, and what happens while it is away."""

import asyncio
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, Connection, delete, insert, inspect, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.peers import refusing_endpoint
from gateway.states import opened
from heliograph_gateway.backends import Postgres as PostgresBackend
from heliograph_gateway.database import Database, StateError, StateUnavailableError
from heliograph_gateway.installation import installation_id
from heliograph_gateway.tables import SCHEMA_VERSION, owner_choices, schema_version, video_jobs
from postgres import PASSWORD, Postgres, postgres_server

OPENER = """
import asyncio, sys
from heliograph_gateway.database import Database

async def main():
    database = Database(sys.argv[1])
    await database.open()
    await database.aclose()

asyncio.run(main())
"""


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Postgres]:
    """A server that a test may end."""
    with postgres_server(tmp_path) as server:
        yield server


async def refused(database: Database) -> StateUnavailableError:
    with pytest.raises(StateUnavailableError) as caught:
        await database.rows(select(schema_version))
    return caught.value


async def execute(database: Database, statement: str) -> None:
    await database.run(lambda connection: connection.exec_driver_sql(statement))


def test_processes_that_open_a_new_database_at_once(postgres: Postgres) -> None:
    url = postgres.new_database()
    command = [sys.executable, "-c", OPENER, url]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate(timeout=120)[1] for process in processes] == [""] * 4
    assert [row["version"] for row in postgres.execute("SELECT version FROM schema_version", url)] == [SCHEMA_VERSION]


def test_an_outage_is_a_503_and_passes(own_server: Postgres, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "heliograph_gateway")

    async def scenario() -> None:
        async with opened(own_server.url()) as database:
            # Several connections are there, and all of them break.
            await asyncio.gather(*(database.rows(text("SELECT pg_sleep(0.1)")) for _ in range(4)))
            await asyncio.to_thread(own_server.stop)
            errors = await asyncio.gather(*(refused(database) for _ in range(6)))
            assert {(error.status, error.code, error.headers["Retry-After"]) for error in errors} == {
                (503, "state_unavailable", "5")
            }
            await asyncio.to_thread(own_server.start)
            assert len(await database.rows(select(schema_version))) == 1

    asyncio.run(scenario())
    told = [record.getMessage() for record in caplog.records]
    assert sum("is away" in line for line in told) == 1
    assert sum("is back" in line for line in told) == 1
    assert PASSWORD not in caplog.text


def test_a_server_that_restarts_is_found_again_without_an_error(own_server: Postgres) -> None:
    async def scenario() -> None:
        async with opened(own_server.url()) as database:
            await asyncio.gather(*(database.rows(text("SELECT pg_sleep(0.1)")) for _ in range(4)))
            await asyncio.to_thread(own_server.stop)
            await asyncio.to_thread(own_server.start)
            assert len(await database.rows(select(schema_version))) == 1

    asyncio.run(scenario())


def test_a_server_that_says_nothing_more_is_given_up(own_server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PostgresBackend, "seconds", 1.0)

    async def scenario() -> None:
        async with opened(own_server.url()) as database:
            own_server.signal_all(signal.SIGSTOP)
            begun = time.monotonic()
            await asyncio.wait_for(refused(database), 60)
            await asyncio.wait_for(refused(database), 60)
            assert time.monotonic() - begun < 60
            own_server.signal_all(signal.SIGCONT)
            assert len(await database.rows(select(schema_version))) == 1

    asyncio.run(scenario())


def test_a_standby_is_no_server_to_write_to(own_server: Postgres) -> None:
    async def scenario() -> None:
        async with opened(own_server.url()) as database:
            read_only = text("SET default_transaction_read_only = on")
            await database.run(lambda connection: connection.execute(read_only))
            with pytest.raises(StateUnavailableError):
                await database.change(insert(owner_choices).values(owner="a", name="b", value="c"))

    asyncio.run(scenario())


def test_transactions_that_were_in_each_others_way_are_made_again(postgres: Postgres) -> None:
    url = postgres.new_database()

    async def scenario() -> None:
        async with opened(url) as database:
            for owner in "ab":
                await database.change(insert(owner_choices).values(owner=owner, name="n", value="0"))
            met = asyncio.Barrier(2)

            async def both(first: str, second: str) -> None:
                meeting = [met.wait()]

                async def work(connection: AsyncConnection) -> None:
                    for owner in (first, second):
                        change = update(owner_choices).where(owner_choices.c.owner == owner)
                        await connection.execute(change.values(value=owner_choices.c.value + first))
                        if meeting:
                            await meeting.pop()

                await database.run(work)

            await asyncio.gather(both("a", "b"), both("b", "a"))
            rows = await database.rows(select(owner_choices.c.value))
            assert {"".join(sorted(row.value)) for row in rows} == {"0ab"}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda url: url.replace(PASSWORD, "other-password"), "password authentication failed"),
        (lambda url: f"{url}x", "does not exist"),
        (lambda url: f"{url}?nonsense=1", "unrecognized configuration parameter"),
        (lambda url: f"{url}?sslmode=verify-full&sslrootcert=/not/there", "is not there (sslrootcert"),
        (lambda url: f"{url}?sslmode=require", "SSL"),
    ],
    ids=["password", "database", "parameter", "certificate", "no TLS"],
)
def test_what_cannot_be_used_says_why_without_the_password(postgres: Postgres, change: object, reason: str) -> None:
    url = change(postgres.new_database())  # type: ignore[operator]

    async def scenario() -> None:
        async with opened(url):
            pass

    with pytest.raises(StateError, match=r"^database_url: postgresql://127\.0\.0\.1") as caught:
        asyncio.run(scenario())
    assert reason in str(caught.value)
    assert "password@" not in str(caught.value)
    assert "-password" not in str(caught.value)


def test_nobody_listens() -> None:
    async def scenario(url: str) -> None:
        async with opened(url):
            pass

    with refusing_endpoint() as endpoint, pytest.raises(StateError, match="cannot be used: ConnectionRefusedError"):
        asyncio.run(scenario(f"postgresql://a:hidden@{endpoint.host}:{endpoint.port}/b"))


def test_an_older_database_gets_what_was_added(database_place: Path | str) -> None:
    async def scenario() -> None:
        async with opened(database_place) as database:
            await database.change(insert(owner_choices).values(owner="a", name="b", value="kept"))
            for statement in (
                "DROP TABLE installation",
                "DROP INDEX video_jobs_status",
                "ALTER TABLE video_jobs DROP COLUMN waiting_since",
                "ALTER TABLE video_jobs DROP COLUMN lapses",
                "ALTER TABLE video_jobs DROP COLUMN reserved_day",
            ):
                await execute(database, statement)
            await database.change(update(schema_version).values(version=1))
        async with opened(database_place) as database:
            assert len(await installation_id(database)) == 32
            assert await database.rows(select(video_jobs.c.waiting_since, video_jobs.c.reserved_day)) == []
            ((version,),) = await database.rows(select(schema_version.c.version))
            assert version == SCHEMA_VERSION
            ((kept,),) = await database.rows(select(owner_choices.c.value))
            assert kept == "kept"
            assert "video_jobs_status" in await database.run(lambda connection: connection.run_sync(_indexes))

    asyncio.run(scenario())


def _tables(connection: Connection) -> list[str]:
    return inspect(connection).get_table_names()


def _indexes(connection: Connection) -> set[str | None]:
    return {index["name"] for index in inspect(connection).get_indexes("video_jobs")}


def test_a_newer_database_is_refused_and_left_alone(database_place: Path | str) -> None:
    newer = SCHEMA_VERSION + 1

    async def scenario() -> None:
        async with opened(database_place) as database:
            await database.change(update(schema_version).values(version=newer))
            await execute(database, "DROP TABLE owner_choices")
        with pytest.raises(StateError, match=f"schema {newer}, this one's is {SCHEMA_VERSION}"):
            async with opened(database_place):
                pass
        same = Database(
            database_place if isinstance(database_place, str) else URL.create("sqlite", database=str(database_place))
        )
        assert "owner_choices" not in await same.run(lambda connection: connection.run_sync(_tables))
        await same.aclose()

    asyncio.run(scenario())


def test_everybody_is_told_the_same_installation(database_place: Path | str) -> None:
    async def scenario() -> None:
        async with opened(database_place) as one, opened(database_place) as two:
            ids = await asyncio.gather(*(installation_id(database) for database in (one, two) * 4))
            assert len(set(ids)) == 1

    asyncio.run(scenario())


def test_a_lock_lets_one_look_and_change_at_a_time(database_place: Path | str) -> None:
    async def scenario() -> None:
        async with opened(database_place) as one, opened(database_place) as two:
            await one.change(insert(owner_choices).values(owner="a", name="count", value="0"))

            async def count(connection: AsyncConnection) -> None:
                found = await connection.scalar(select(owner_choices.c.value))
                await asyncio.sleep(0.001)
                await connection.execute(update(owner_choices).values(value=str(int(found or 0) + 1)))

            await asyncio.gather(*(database.run(count, lock="count") for database in (one, two) * 20))
            ((value,),) = await one.rows(select(owner_choices.c.value))
            assert value == "40"

    asyncio.run(scenario())


def test_upsert_and_errors_of_statements(database_place: Path | str) -> None:
    async def scenario() -> None:
        async with opened(database_place) as database:
            for value in ("first", "second"):
                row = database.upsert(owner_choices).values(owner="a", name="b", value=value)
                await database.change(
                    row.on_conflict_do_update(index_elements=["owner", "name"], set_={"value": row.excluded.value})
                )
            ((value,),) = await database.rows(select(owner_choices.c.value))
            assert value == "second"
            with pytest.raises(IntegrityError) as caught:
                await database.change(insert(owner_choices).values(owner="a", name="b", value="canary-value"))
            # What is stored may be a prompt.
            assert "canary-value" not in str(caught.value)
            assert await database.change(delete(owner_choices)) == 1

    asyncio.run(scenario())
