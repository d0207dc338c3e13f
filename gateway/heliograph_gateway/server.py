"""The HTTP server that the gateway is behind, in a cluster and in `heliograph serve` alike."""

import asyncio
import contextlib
import ctypes
import gc
import logging
import platform
import resource
import socket
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar, cast

import uvicorn
import uvloop
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE

from heliograph_gateway.connections import Bounds, Connection, WireConfig
from heliograph_gateway.handshakes import HandshakeBounds, TlsListener, listen
from heliograph_gateway.settings import GatewaySettings
from heliograph_gateway.tls import Tls

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")

_SWEEP_SECONDS = 1.0
_LETTING_GO_SECONDS = 2.0
_LOOK_SECONDS = 0.05
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_MMAP_BYTES = 32 * 1024 * 1024
_TRIM_BYTES = 64 * 1024 * 1024


class GatewayServer(uvicorn.Server):
    """uvicorn with connections that are guarded, and cut where a client is too slow."""

    def __init__(self, app: FastAPI, settings: GatewaySettings, *, tls: Tls | None = None, **options: Any) -> None:
        """Make a server that is still to be run.

        Args:
            app: What answers.
            settings: The gateway's settings.
            tls: What HTTPS is served with; HTTP is when absent.
            options: More for `uvicorn.Config`, such as where to listen.
        """
        self._tls = tls
        config = WireConfig(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            backlog=settings.max_connections,
            timeout_keep_alive=settings.keep_alive_seconds,
            bounds=Bounds(
                header_seconds=settings.header_seconds,
                body_seconds=settings.body_seconds,
                write_seconds=settings.write_seconds,
                least_rate=settings.min_bytes_per_second,
                connections=settings.max_connections,
            ),
            **(self._tls.server_options() if self._tls else {}),
            **options,
        )
        super().__init__(config)
        self._handshakes = HandshakeBounds(settings.header_seconds, settings.max_connections)
        self._keepers: list[asyncio.Task[None]] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and to look after the connections."""
        if self._tls:
            await self._listen(self._tls, sockets)
        else:
            await super().startup(sockets)
        self._keepers = [asyncio.create_task(self._sweep(), name="slow clients")]
        if self._tls:
            self._keepers.append(asyncio.create_task(self._tls.watch(), name="certificate"))

    async def _listen(self, tls: Tls, sockets: list[socket.socket] | None) -> None:
        config = self.config
        try:
            listeners = sockets or listen(config.host, config.port, backlog=config.backlog)
        except OSError as error:
            logger.error("%s:%d: %s", config.host, config.port, error.strerror)  # noqa: TRY400 - it says it all
            sys.exit(STARTUP_FAILURE)
        for listener in listeners:
            listener.listen(config.backlog)
        await super().startup([])

        def protocol() -> asyncio.Protocol:
            return Connection(config, self.server_state, self.lifespan.state)

        connections = self.server_state.connections
        # Of a server, uvicorn only calls what this one has too.
        self.servers = cast(
            "list[asyncio.base_events.Server]",
            [
                TlsListener(listener, lambda: tls.context, protocol, bounds=self._handshakes, connections=connections)
                for listener in listeners
            ],
        )
        if not sockets:
            self._log_started_message(listeners)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait for the requests at work; their connections are looked after until then."""
        await self._let_go()
        await super().shutdown(sockets)
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    async def _let_go(self) -> None:
        """Have each connection closed by an answer, so that no request is on its way when one is closed.

        What is still idle after a while is closed all the same.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _LETTING_GO_SECONDS
        while not self.force_exit and loop.time() < deadline:
            ours = [one for one in self.server_state.connections if isinstance(one, Connection)]
            for connection in ours:
                connection.let_go()
            if not any(connection.is_idle for connection in ours):
                break
            await asyncio.sleep(_LOOK_SECONDS)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    try:
                        connection.check(loop.time())
                    except Exception:
                        # The others are looked after all the same.
                        logger.exception("a connection could not be looked after")


def run_in_loop(main: Coroutine[Any, Any, _Result]) -> _Result:
    """Run a coroutine to its end in uvloop's event loop, in a process that is set up to serve."""
    prepare_process()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def prepare_process() -> None:
    """Set this process up to serve, once all that it needs is imported.

    It gets as many descriptors as it may have, keeps memory for the next request, and has the garbage collector look no
    more at what was imported, which is most of what there is and stays: that took tenths of a second at a time.

    Each request takes two descriptors, and the usual soft limit is 1,024. By itself glibc asks the kernel for the
    memory of each large answer, and gives it back; a page that is new costs more than to copy what is in it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        # macOS names a hard limit that it does not grant.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)
        # Each thread would keep memory of its own after a large body that it read.
        mallopt(_M_ARENA_MAX, 2)
    gc.collect()
    gc.freeze()
