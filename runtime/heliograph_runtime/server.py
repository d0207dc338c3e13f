"""The HTTP server of the runtime's process."""

import math
from collections.abc import Callable

import uvicorn

from heliograph_runtime.app import create_app
from heliograph_runtime.service import Service


def make_server(service: Service, *, on_failure: Callable[[BaseException], None]) -> uvicorn.Server:
    """Return a server of the runtime's application, to be run on a socket.

    Args:
        service: The model to serve.
        on_failure: Called with the reason when no worker can be had and the process should end.
    """
    return uvicorn.Server(
        uvicorn.Config(
            create_app(service, on_failure=on_failure),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=math.ceil(service.settings.request_timeout_seconds),
        )
    )
