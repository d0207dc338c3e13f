"""One run of `heliograph serve`: from the manifests on the command line until the last process has ended."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import shutil
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from heliograph.serve import listener as listeners
from heliograph.serve.banner import banner
from heliograph.serve.refusals import refused_path
from heliograph.serve.supervisor import Supervisor
from heliograph_gateway.routing import RoutingTable

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Sequence

    from heliograph.serve.gateway import Gateway
    from heliograph.serve.manifests import ServedModel
    from heliograph.serve.progress import PlainReport
    from heliograph_gateway.settings import GatewaySettings

# Seconds that requests at work have to finish after the first Ctrl-C, before the runtimes are told to end.
DRAIN_SECONDS = 20.0
_FORCED_STATUS = 130


@dataclass(frozen=True)
class Wiring:
    """What a session works with.

    Attributes:
        settings: The gateway's settings.
        listener: The socket that the gateway answers on, listening already.
        report: Where to say what happens.
        verbose: Whether the runtimes' logs are passed on.
    """

    settings: GatewaySettings
    listener: socket.socket
    report: PlainReport
    verbose: bool


class Session:
    """The gateway and the supervisors of one run."""

    def __init__(self, served: Sequence[ServedModel], wiring: Wiring) -> None:
        """Prepare the session; `run` starts everything.

        Args:
            served: The models, with at least one that has a runtime.
            wiring: What the session works with.

        Raises:
            click.ClickException: There is no folder for temporary files.
        """
        self._served = served
        self._wiring = wiring
        self._table = RoutingTable(default_model=wiring.settings.default_model)
        self._stop = asyncio.Event()
        self._supervisors: list[Supervisor] = []
        # Beside the runtimes' manifests nothing is written; nobody else may read what a model's author wrote there.
        self._folder = _make_folder()

    async def run(self) -> int:
        """Serve until SIGINT, SIGTERM or SIGHUP, or until no model could be loaded; return the exit status.

        Raises:
            click.ClickException: What the gateway keeps cannot be used.
        """
        try:
            with self._signals():
                return await self._serve()
        finally:
            # What removes old files from /tmp may have been here before.
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _serve(self) -> int:
        failure: click.ClickException | None = None
        status = 1
        # An error in one of these ends the others, and with them the runtimes.
        async with asyncio.TaskGroup() as tasks:
            supervising = [tasks.create_task(supervisor.run()) for supervisor in self._make_supervisors()]
            try:
                status = await self._answer(tasks)
            except click.ClickException as error:  # a group of errors would be what comes out of here
                failure = error
            for task in supervising:
                task.cancel()
        if failure:
            raise failure
        return status

    async def _answer(self, tasks: asyncio.TaskGroup) -> int:
        """Run the gateway until it is to stop, and return the exit status."""
        gateway = await self._make_gateway()
        serving = tasks.create_task(gateway.serve(sockets=[self._wiring.listener]))
        status = await self._until_stopped()
        for supervisor in self._supervisors:
            supervisor.give_up()
        gateway.should_exit = True
        # Requests that are still at work when the runtimes end get the gateway's own error.
        await asyncio.wait([serving], timeout=DRAIN_SECONDS)
        return status

    async def _make_gateway(self) -> Gateway:
        # The runtimes start meanwhile: they need no gateway until they are ready, and its imports take half a second.
        module = await asyncio.to_thread(importlib.import_module, "heliograph.serve.gateway")
        return cast("Gateway", await module.make_gateway(self._table, self._wiring.settings))

    def _make_supervisors(self) -> list[Supervisor]:
        for served in self._served:
            self._table.set_model(served.model)
        self._supervisors = [
            Supervisor(
                served,
                folder=self._folder,
                table=self._table,
                report=self._wiring.report,
                verbose=self._wiring.verbose,
            )
            for served in self._served
            if served.has_runtime
        ]
        return self._supervisors

    async def _until_stopped(self) -> int:
        """Say when the models are ready, and wait for a signal or for the failure of all; return the exit status."""
        stopped = asyncio.create_task(self._stop.wait())
        loads = asyncio.create_task(asyncio.wait([supervisor.loaded for supervisor in self._supervisors]))
        with self._wiring.report:
            await asyncio.wait([stopped, loads], return_when=asyncio.FIRST_COMPLETED)
        if loads.done() and not stopped.done():
            ready = [supervisor.name for supervisor in self._supervisors if supervisor.loaded.result()]
            if not ready:
                click.echo("Error: no model could be loaded", err=True)
                stopped.cancel()
                return 1
            settings = self._wiring.settings
            url = listeners.url(self._wiring.listener, scheme="https" if settings.tls_cert_file else "http")
            click.echo(banner(url, ready, with_key=settings.asks_for_keys))
        await stopped
        loads.cancel()
        return 0

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in handled:
            loop.add_signal_handler(number, self._on_signal)
        try:
            yield
        finally:
            for number in handled:
                loop.remove_signal_handler(number)

    def _on_signal(self) -> None:
        if not self._stop.is_set():
            self._stop.set()
            self._wiring.report.say("Stopping; Ctrl-C again stops at once")
            return
        self._wiring.report.close()
        for supervisor in self._supervisors:
            supervisor.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
        os._exit(_FORCED_STATUS)


def _make_folder() -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="heliograph-"))
    except OSError as error:
        raise click.ClickException(
            f"the runtimes' manifests: {refused_path(error)}; TMPDIR names another folder for temporary files"
        ) from None
