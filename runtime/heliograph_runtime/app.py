"""The HTTP application of the runtime."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI

from heliograph_runtime.errors import add_error_handlers
from heliograph_runtime.health import health_router
from heliograph_runtime.images.router import images_router
from heliograph_runtime.reporting import reporting_router
from heliograph_runtime.service import Service


def create_app(service: Service, *, on_failure: Callable[[BaseException], None]) -> FastAPI:
    """Return the application, which runs the service's worker while it is up.

    Args:
        service: The model to serve.
        on_failure: Called with the reason when no worker can be had and the process should end.
    """

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            on_failure(error)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        supervision = service.supervise()
        supervision.add_done_callback(ended)
        yield
        supervision.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await supervision

    app = FastAPI(
        title="Heliograph runtime",
        lifespan=lifespan,
        openapi_url=None,
        # The runtime's own spans hold neither query strings nor the messages of errors.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    add_error_handlers(app)
    app.include_router(health_router(service))
    app.include_router(reporting_router(service))
    app.include_router(images_router(service))
    return app
