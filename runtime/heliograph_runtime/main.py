"""The runtime process: from settings to an exit status."""

import asyncio
import logging
import os
import signal
import socket
import sys
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING

from heliograph_api.errors import SpecError
from heliograph_runtime.engines.protocol import LoadError
from heliograph_runtime.logs import configure_logging
from heliograph_runtime.manifest import read_model
from heliograph_runtime.service import Service
from heliograph_runtime.settings import RuntimeSettings
from heliograph_runtime.tracing import start_tracing

if TYPE_CHECKING:
    import uvicorn

log = logging.getLogger("heliograph_runtime")


def run(settings: RuntimeSettings) -> int:
    """Serve one ImageModel until SIGTERM, SIGINT or, if it is watched, the end of standard input.

    Then nothing more is accepted, running and waiting requests are finished within their deadlines, and the worker
    ends.

    Returns:
        The exit status: 0 after such an end; 1 when the model can't be served, with the reason as the last line on
        standard error.
    """
    configure_logging()
    try:
        model = read_model(settings.manifest)
        listener = _listen(settings.host, settings.port)
    except (SpecError, OSError) as error:
        log.critical("%s", error)
        return 1
    tracing = start_tracing(os.environ, model=model.model_id)
    try:
        return asyncio.run(_serve(Service(model, settings, tracer=tracing.tracer if tracing else None), listener))
    finally:
        if tracing:
            tracing.close()


async def _serve(service: Service, listener: socket.socket) -> int:
    """Serve on a listening socket until the server ends or no worker can be had; return the exit status."""
    service.supervise()
    # The worker starts meanwhile: what HTTP needs takes a fifth of a second to import.
    server_module = await asyncio.to_thread(import_module, "heliograph_runtime.server")
    failures: list[BaseException] = []

    def fail(error: BaseException) -> None:
        failures.append(error)
        server.should_exit = True

    server: uvicorn.Server = server_module.make_server(service, on_failure=fail)
    _stop_on_signals(server)
    if service.settings.watch_stdin:
        Thread(target=_stop_at_end_of_input, args=(server,), name="stdin", daemon=True).start()
    log.info("serving %s on port %d", service.model.model_id, listener.getsockname()[1])
    await server.serve(sockets=[listener])
    for failure in failures:
        log.critical("%s", failure, exc_info=None if isinstance(failure, LoadError) else failure)
    return 1 if failures else 0


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    dualstack = host == "::" and socket.has_dualstack_ipv6()
    try:
        listener = socket.create_server((host, port), family=family, dualstack_ipv6=dualstack)
    except OSError as error:
        raise OSError(f"port: can't listen on {host} port {port}: {error.strerror}; choose another") from None
    # asyncio sets it for sockets of its own making alone. Without it the body of an answer waits for the client's
    # delayed acknowledgement of the head, 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _stop_on_signals(server: "uvicorn.Server") -> None:
    """Make the signals that uvicorn hands on after its shutdown end nothing, and early ones end the server."""

    def stop(_number: int, _frame: object) -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def _stop_at_end_of_input(server: "uvicorn.Server") -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    server.should_exit = True
