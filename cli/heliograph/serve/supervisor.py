"""Keeps the runtime of one model running and its endpoint in the gateway's routing table."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import time
from typing import TYPE_CHECKING, Any

import httpx

from heliograph.serve.listener import free_port
from heliograph.serve.process import ChildProcess
from heliograph.serve.refusals import refused_path
from heliograph.serve.weights import WeightsError, fetch_weights, plan_served
from heliograph_api import naming
from heliograph_gateway.models.observed import NOTHING, STOPPING, Observed
from heliograph_gateway.routing import Endpoint, RoutingTable
from heliograph_operator.plan.runtime import runtime_args, runtime_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from heliograph.serve.manifests import ServedModel
    from heliograph.serve.progress import PlainReport
    from heliograph_runtime.weights.progress import State

HOST = "127.0.0.1"
GRACE_SECONDS = 10.0
FIRST_DELAY, LONGEST_DELAY = 1.0, 60.0
# A runtime that was ready for so long did not die of its start, so the next one is started without much delay.
STABLE_SECONDS = 60.0
# As a kubelet does it: a probe a second, and three that fail in a row take a replica out.
PROBE_SECONDS, LOADING_PROBE_SECONDS, PROBE_TIMEOUT = 1.0, 0.1, 2.0
FAILURE_THRESHOLD = 3


class Supervisor:
    """Starts a model's runtime, watches it and starts it again when it dies.

    Attributes:
        loaded: Set once the first start has come to an end: true when the model is ready, false when it failed.
    """

    def __init__(
        self, served: ServedModel, *, folder: Path, table: RoutingTable, report: PlainReport, verbose: bool
    ) -> None:
        """Prepare to start; `run` starts everything.

        Args:
            served: The model.
            folder: Folder that nobody else can read, for the runtime's manifest.
            table: Routing table of the gateway in front.
            report: Where to say what happens.
            verbose: Whether every line of the runtime's log is passed on.
        """
        self.name = served.model.model_id
        self.loaded: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._served = served
        self._service = naming.child_name(served.model.name)
        self._manifest = folder / f"{self._service}.json"
        self._table = table
        self._report = report
        self._verbose = verbose
        self._process: ChildProcess | None = None
        self._ready_since: float | None = None
        self._gives_up = False

    async def run(self) -> None:
        """Keep the runtime running until this is cancelled; return when it could not load the model at first."""
        self._report.loading(self.name)
        self._tell("it is loading; try again soon.", Observed("Starting"))
        try:
            manifest = await self._prepare()
        except WeightsError as error:
            self._fail(str(error))
            return
        except OSError as error:
            # This model's alone: whatever comes out of here ends all others.
            self._fail(refused_path(error))
            return
        delay = FIRST_DELAY
        while True:
            reason = await self._run_once(manifest)
            if not self.loaded.done():
                self._fail(reason)
                return
            if self._ready_since is not None and time.monotonic() - self._ready_since > STABLE_SECONDS:
                delay = FIRST_DELAY
            self._report.say(f"{self.name}: {reason}; its runtime is started again in {delay:.0f} s")
            self._tell(f"{reason}; its runtime is started again.", Observed("Starting"))
            await asyncio.sleep(delay)
            delay = min(2 * delay, LONGEST_DELAY)

    def give_up(self) -> None:
        """Have nobody wait for the model where it is not ready, since its runtime is about to be stopped."""
        self._gives_up = True
        self._tell("", NOTHING)

    def kill(self) -> None:
        """End the runtime at once; for a process that is about to end itself."""
        if self._process is not None:
            self._process.kill()

    async def _prepare(self) -> Mapping[str, Any]:
        """Fetch the weights that are not there, and return the runtime's manifest.

        Raises:
            WeightsError: They can't be had.
            OSError: No process can be started that fetches them, or its manifest not be written.
        """
        weights = plan_served(self._served)
        if weights.lacking:
            self._tell("its weights are being fetched; try again later.", Observed("Fetching"))
            await fetch_weights(
                weights,
                self._served.model,
                manifest=self._manifest,
                on_progress=self._fetching,
                on_line=self._log,
                on_start=self._note_process,
            )
            self._report.fetched(self.name)
            self._tell("it is loading; try again soon.", Observed("Starting"))
        weights.link()
        return runtime_manifest(self._served.model, weights.spec)

    def _note_process(self, process: ChildProcess) -> None:
        self._process = process

    def _fetching(self, state: State) -> None:
        share = min(1.0, state.done / state.total) if state.total else None
        self._tell("its weights are being fetched; try again later.", Observed("Fetching", progress=share))
        self._report.fetching(self.name, done=state.done, total=state.total, speed=state.speed)

    def _tell(self, why: str, observed: Observed) -> None:
        if self._gives_up:
            why, observed = "heliograph serve is stopping.", Observed(STOPPING, failed=True)
        self._table.set_model(self._served.model, not_ready=why, observed=observed)

    def _fail(self, why: str) -> None:
        self._tell(f"it could not be loaded: {why}", Observed("LoadFailed", failed=True))
        self._report.failed(self.name, why)
        self.loaded.set_result(False)

    async def _run_once(self, manifest: Mapping[str, Any]) -> str:
        """Run the runtime until it ends, and return why it did, or why it could not be started."""
        self._ready_since = None
        try:
            _write(self._manifest, manifest)
            process = await self._run()
        except OSError as error:
            return refused_path(error)
        if not self._verbose and not process.said_why:
            self._show_tail(process)
        return process.reason

    async def _run(self) -> ChildProcess:
        """Start the runtime, keep its endpoint in the table while it is ready, and return when it has ended."""
        port = free_port()
        arguments = runtime_args(
            manifest=str(self._manifest), models_dir=str(self._served.models_dir), host=HOST, port=port
        )
        process = await ChildProcess.start(["runtime", *arguments, "--watch-stdin"], on_line=self._log)
        self._process = process
        try:
            await self._watch(process, Endpoint(HOST, port))
        finally:
            self._table.set_endpoints(self._served.model.namespace, self._service, [])
            await process.stop(grace=GRACE_SECONDS)
        return process

    async def _watch(self, process: ChildProcess, endpoint: Endpoint) -> None:
        failures, ready = 0, False
        async with httpx.AsyncClient(timeout=PROBE_TIMEOUT, trust_env=False) as client:
            while not await process.wait(timeout=PROBE_SECONDS if ready else LOADING_PROBE_SECONDS):
                failures = 0 if await _answers(client, f"{endpoint.url}/readyz") else failures + 1
                if not failures and not ready:
                    ready = True
                    self._table.set_endpoints(self._served.model.namespace, self._service, [endpoint])
                    self._announce()
                elif failures == FAILURE_THRESHOLD and ready:
                    ready = False
                    self._table.set_endpoints(self._served.model.namespace, self._service, [])
                    self._tell("its runtime does not answer at the moment.", Observed("ProbeFailing"))
                    self._report.say(f"{self.name} is not ready any more; waiting for its runtime")
                elif not self.loaded.done():
                    self._report.tick(self.name)

    def _announce(self) -> None:
        self._ready_since = time.monotonic()
        self._tell("", NOTHING)
        if self.loaded.done():
            self._report.say(f"{self.name} is ready again")
            return
        self._report.ready(self.name)
        self.loaded.set_result(True)

    def _log(self, line: str) -> None:
        if self._verbose:
            self._report.say(f"{self.name} | {line}")

    def _show_tail(self, process: ChildProcess) -> None:
        for line in process.tail:
            self._report.say(f"{self.name} | {line}")


def _write(path: Path, manifest: Mapping[str, Any]) -> None:
    """Write a manifest before each start: in /tmp, some systems remove what nobody touched for ten days."""
    folder = path.parent
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if folder.lstat().st_uid != os.getuid():
        # Whoever else made it since could have the runtime load what they like.
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder))
    path.write_text(json.dumps(manifest), encoding="utf-8")


async def _answers(client: httpx.AsyncClient, address: str) -> bool:
    try:
        return (await client.get(address)).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
