"""Waking a model: the one write of a gateway to the Kubernetes API."""

import asyncio
import logging
from collections.abc import Callable

from heliograph_api import naming
from heliograph_gateway.kube import KubeApi, KubeError
from heliograph_gateway.names import Route

logger = logging.getLogger(__name__)

_CONFLICT = 409
_NOT_FOUND = 404
_FIRST_RETRY_SECONDS = 0.1
_LAST_RETRY_SECONDS = 5.0


class ScaleWaker:
    """Gives models that have no replicas some, by their `/scale`; one attempt at a time for each model."""

    def __init__(self, api: KubeApi) -> None:
        """Write through `api`."""
        self._api = api
        self._at_work: dict[tuple[str, str], asyncio.Task[None]] = {}

    def wake(self, route: Route, *, is_wanted: Callable[[], bool], on_woken: Callable[[Route], None]) -> None:
        """Have a model woken as `heliograph_gateway.holding.Waker` has it."""
        if route.key not in self._at_work:
            task = asyncio.create_task(self._persist(route, is_wanted, on_woken), name=f"wake {route.qualified_name}")
            self._at_work[route.key] = task

    async def aclose(self) -> None:
        """Give up whatever is being tried."""
        tasks = list(self._at_work.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _persist(self, route: Route, is_wanted: Callable[[], bool], on_woken: Callable[[Route], None]) -> None:
        try:
            await self._try(route, is_wanted, on_woken)
        finally:
            # Not by a callback of the task, which comes a moment later: whoever asks in between would wait in vain.
            del self._at_work[route.key]

    async def _try(self, route: Route, is_wanted: Callable[[], bool], on_woken: Callable[[Route], None]) -> None:
        delay = _FIRST_RETRY_SECONDS
        while is_wanted():
            try:
                if await self._wake(route):
                    logger.info("%s is woken", route.qualified_name)
                    on_woken(route)
            except KubeError as error:
                if error.status == _NOT_FOUND:
                    return
                # Whoever changes the status in between takes the resourceVersion along; that is no failure.
                expected = error.status == _CONFLICT
                logger.log(
                    logging.DEBUG if expected else logging.WARNING, "%s is not woken: %s", route.qualified_name, error
                )
                await asyncio.sleep(_FIRST_RETRY_SECONDS if expected else delay)
                delay = min(2 * delay, _LAST_RETRY_SECONDS)
            else:
                return

    async def _wake(self, route: Route) -> bool:
        """Write the size if there are no replicas; return whether that was so."""
        namespace, name = route.key
        path = f"/apis/{naming.API_VERSION}/namespaces/{namespace}/{naming.PLURAL}/{name}/scale"
        scale = await self._api.get(path)
        if scale["spec"].get("replicas") or route.scaling is None:
            return False
        scale["spec"]["replicas"] = route.scaling.awake
        await self._api.replace(path, scale)
        return True
