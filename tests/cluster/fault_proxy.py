"""An HTTPS proxy that stands before an API server and fails on demand."""

import asyncio
import contextlib
import itertools
import json
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web
from yarl import URL

from cluster.addresses import free_port
from cluster.programs import HOST

Fault = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
"""Answers a request in the API server's place, or returns None to have it passed on."""

_TIMEOUT = 30.0
_OF_THE_CONNECTION = frozenset({"Connection", "Content-Length", "Host", "Keep-Alive", "Transfer-Encoding"})


class FaultProxy:
    """Passes requests on to an API server, unless a fault is on.

    A context manager: a thread serves on a port of its own from entry to exit. Faults are switched from another thread.
    """

    def __init__(self, *, upstream: str, ca: Path, certificate: Path, key: Path) -> None:
        """Stand before an API server.

        Args:
            upstream: The API server's URL.
            ca: PEM file of the authority for its certificate.
            certificate: PEM file of the proxy's own certificate, for 127.0.0.1.
            key: PEM file of its key.
        """
        self._upstream = upstream
        self._trust = ssl.create_default_context(cafile=ca)
        self._identity = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._identity.load_cert_chain(certificate, key)
        self._port = free_port()
        self.url = f"https://{HOST}:{self._port}"
        """Where it serves."""
        self.struck = 0
        """Requests that a fault has concerned."""
        self._fault: Fault | None = None
        self._connections: set[asyncio.Transport] = set()
        self._dead: set[asyncio.Transport] = set()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._serves = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._serves.wait(_TIMEOUT):
            raise TimeoutError(f"the proxy does not serve after {_TIMEOUT:g} s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_TIMEOUT)

    @contextlib.contextmanager
    def failing(self, fault: Fault) -> Iterator[None]:
        """Have requests meet with `fault` inside the `with` block; watches that run go on."""
        self._fault = fault
        try:
            yield
        finally:
            self._fault = None

    @contextlib.contextmanager
    def black_hole(self) -> Iterator[None]:
        """Swallow everything inside the `with` block; connections from before or within are dead ever after."""
        self._call(self._bury)
        with self.failing(_swallow):
            yield
            self._call(self._bury)

    def cut(self) -> None:
        """Break every connection; new ones are taken."""
        self._call(self._abort)

    def _abort(self) -> None:
        for connection in self._connections:
            connection.abort()

    def _bury(self) -> None:
        self._dead |= self._connections

    def _call(self, work: Callable[[], None]) -> None:
        """Have the proxy's thread do something, and wait until it is done."""

        async def do() -> None:
            work()

        asyncio.run_coroutine_threadsafe(do(), self._loop).result(_TIMEOUT)

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._handle)
        # Nobody waits for an answer whose client has gone.
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        connector = aiohttp.TCPConnector(ssl=self._trust, limit=0)
        # The API server's answers are passed on as they are: compressed, and for as long as they last.
        async with aiohttp.ClientSession(
            connector=connector, auto_decompress=False, timeout=aiohttp.ClientTimeout()
        ) as self._session:
            await web.TCPSite(runner, HOST, self._port, ssl_context=self._identity).start()
            self._serves.set()
            await self._stop.wait()
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        assert transport is not None
        self._connections.add(transport)
        try:
            if self._fault is not None:
                self.struck += 1
                if (answer := await self._fault(request)) is not None:
                    return answer
            return await self._pass_on(request, transport)
        finally:
            self._connections.discard(transport)

    async def _pass_on(self, request: web.Request, transport: asyncio.Transport) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name not in _OF_THE_CONNECTION}
        url = URL(self._upstream + request.raw_path, encoded=True)
        body = await request.read()
        try:
            async with self._session.request(
                request.method, url, headers=headers, data=body, skip_auto_headers=("User-Agent", "Content-Type")
            ) as answer:
                response = web.StreamResponse(status=answer.status)
                response.headers.extend(
                    (name, value) for name, value in answer.headers.items() if name not in _OF_THE_CONNECTION
                )
                await response.prepare(request)
                async for data in answer.content.iter_any():
                    if transport in self._dead:
                        await _swallow(request)
                    await response.write(data)
                await response.write_eof()
                return response
        except aiohttp.ClientError:
            # The API server has gone: so has the connection to it, for whoever is behind this proxy.
            transport.abort()
            raise


def refusing(status: int, message: str, *, one_in: int = 1, headers: dict[str, str] | None = None) -> Fault:
    """Return a fault: of so many requests, one is refused with an HTTP status, as the API server words it."""
    numbers = itertools.count()

    async def refuse(_: web.Request) -> web.StreamResponse | None:
        if next(numbers) % one_in:
            return None
        return web.json_response(_status(status, message), status=status, headers=headers)

    return refuse


def lagging(seconds: float) -> Fault:
    """Return a fault: everything is answered so many seconds late."""

    async def lag(_: web.Request) -> None:
        await asyncio.sleep(seconds)

    return lag


def expired(*, by_event: bool) -> Fault:
    """Return a fault: what a watch goes on from is too old, which the API server says by an event or by a status."""

    async def expire(request: web.Request) -> web.StreamResponse | None:
        if "watch" not in request.query:
            return None
        gone = _status(410, "too old resource version: 1 (2)")
        if not by_event:
            return web.json_response(gone, status=410)
        return web.Response(text=json.dumps({"type": "ERROR", "object": gone}) + "\n", content_type="application/json")

    return expire


async def _swallow(_: web.Request) -> None:
    await asyncio.Event().wait()


def _status(code: int, message: str) -> dict[str, object]:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}
