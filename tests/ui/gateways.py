"""A gateway whose models are in every state there is; those that come up are drawn by a real runtime."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from gateway.manifests import image_model
from gateway.running import served
from heliograph_api.naming import child_name
from heliograph_gateway.app import create_app
from heliograph_gateway.models.observed import Observed
from heliograph_gateway.names import Route
from heliograph_gateway.routing import Endpoint, RoutingTable
from heliograph_gateway.settings import GatewaySettings
from runtime.runtimes import TINY

NAMES = ("ready", "cold", "loading", "failed", "disabled")
LOADING = Observed(reason="Fetching", progress=0.4)
FAILED = Observed(reason="WeightsNotFound", failed=True)
FAILED_MESSAGE = "spec.parameters.model: the claim has no folder missing-model; put the weights there."
COLD_SPEC: dict[str, Any] = {**TINY, "serving": {"replicas": 0, "scaling": {"minReplicas": 0, "maxReplicas": 1}}}


@dataclass
class States:
    """The gateway.

    Attributes:
        url: Its base URL.
        go: Set it, and the cold model that was woken is ready.
        woken: Set when the cold model was woken.
        disables: Set it before `go`, and the model is disabled then rather than ready.
    """

    url: str = ""
    go: threading.Event = field(default_factory=threading.Event)
    woken: threading.Event = field(default_factory=threading.Event)
    disables: threading.Event = field(default_factory=threading.Event)


class _Starter:
    """Brings the runtime up in steps, as a cluster would: fetching first, ready once the test says so."""

    def __init__(self, routes: RoutingTable, states: States, runtime: Endpoint) -> None:
        self._routes = routes
        self._states = states
        self._runtime = runtime
        self._task: asyncio.Task[None] | None = None

    def wake(
        self,
        route: Route,
        *,
        is_wanted: Callable[[], bool],  # noqa: ARG002 - the protocol's
        on_woken: Callable[[Route], None],
    ) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._start(route, on_woken))

    async def _start(self, route: Route, on_woken: Callable[[Route], None]) -> None:
        spec = {**COLD_SPEC, "serving": {**COLD_SPEC["serving"], "replicas": 1}}
        name = route.model.name
        self._routes.set_model(image_model(name, **spec), not_ready="The weights are fetched.", observed=LOADING)
        on_woken(route)
        self._states.woken.set()
        await asyncio.to_thread(self._states.go.wait)
        self._routes.set_model(image_model(name, **spec, disabled=self._states.disables.is_set()))
        self._routes.set_endpoints("default", child_name(name), [self._runtime])

    async def aclose(self) -> None:
        if self._task:
            self._task.cancel()


def runtime_over(models: Path) -> Endpoint:
    """Return where the runtime answers whose models folder this is; stacks of other tests may run as well."""
    for process in psutil.Process().children(recursive=True):
        # Others of the tests' processes may end meanwhile.
        with contextlib.suppress(psutil.NoSuchProcess):
            line = process.cmdline()
            if "runtime" in line and "--port" in line and str(models) in line:
                return Endpoint("127.0.0.1", int(line[line.index("--port") + 1]))
    raise AssertionError(f"no runtime runs over {models}")


@contextmanager
def in_every_state(
    runtime: Endpoint, folder: Path, *, names: Sequence[str] = NAMES, **settings: Any
) -> Iterator[States]:
    """Serve a gateway with a ready, a cold, a loading, a failed and a disabled model."""
    routes = RoutingTable()
    ready, cold, loading, failed, disabled = names
    routes.set_model(image_model(ready, **TINY))
    routes.set_endpoints("default", child_name(ready), [runtime])
    routes.set_model(image_model(cold, **COLD_SPEC))
    routes.set_model(image_model(loading, **TINY), not_ready="The weights are fetched.", observed=LOADING)
    routes.set_model(image_model(failed, **TINY), not_ready=FAILED_MESSAGE, observed=FAILED)
    routes.set_model(image_model(disabled, **TINY, disabled=True))
    states = States()
    app = create_app(
        routes,
        GatewaySettings(data_dir=folder, response_format="b64_json", **settings),
        waker=_Starter(routes, states, runtime),
    )
    with served(app) as url:
        try:
            yield replace(states, url=url)
        finally:
            states.go.set()
