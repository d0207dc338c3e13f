"""Opening connections to checked addresses alone."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any
from weakref import WeakValueDictionary

import httpcore

from heliograph_gateway.fetching.addresses import standing
from heliograph_gateway.fetching.errors import RefusedError
from heliograph_gateway.fetching.hosts import HostRule, allows

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the addresses of a host, given its name or address and a port; raises `OSError` if there are none."""

looked_up_for: ContextVar[str] = ContextVar("looked_up_for", default="")
"""The key that a task looks names up for, which httpcore hands on to no backend; empty where none is asked for."""

_CONNECT_SECONDS = 4.0
_RESOLVERS = 8
_RESOLVERS_FOR_AN_OWNER = _RESOLVERS // 2


class SystemResolver:
    """Resolves names as this machine does, in threads of its own: a name that takes long holds up no other work.

    A look-up can't be stopped, so its thread counts for its key until it ends, even when nobody waits for it any more.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_RESOLVERS, "resolver")
        # They stay as long as somebody waits for one, or a thread is to give it back.
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a host."""
        owner = looked_up_for.get()
        turns = self._turns.get(owner) or asyncio.Semaphore(_RESOLVERS_FOR_AN_OWNER if owner else _RESOLVERS)
        self._turns[owner] = turns
        await turns.acquire()
        loop = asyncio.get_running_loop()

        def give_back(_ended: Future[list[Any]]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended before the thread
                loop.call_soon_threadsafe(turns.release)

        looking = self._threads.submit(self._look_up, host, port)
        looking.add_done_callback(give_back)
        found = await asyncio.wrap_future(looking)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    def close(self) -> None:
        """Take no more names."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @staticmethod
    def _look_up(host: str, port: int) -> list[Any]:
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """What the HTTP client opens its connections with.

    A name is resolved here and nowhere else, and the very address that was checked is connected to: there is no second
    look-up that could have another answer.
    """

    def __init__(self, resolve: Resolve, private_hosts: Sequence[HostRule]) -> None:
        """Connect to public addresses, and for the `private_hosts` to private ones too."""
        self._resolve = resolve
        self._private_hosts = private_hosts
        self._sockets = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first of a host's addresses that answers.

        Raises:
            RefusedError: One of the addresses is of a kind that is not connected to.
            httpcore.ConnectError: There is no address, or none answers.
        """
        try:
            addresses = await self._resolve(host, port)
        except OSError as error:
            raise httpcore.ConnectError(f"no address of {host}") from error
        allowed = {"public", "private"} if allows(self._private_hosts, host, port) else {"public"}
        if not {standing(address) for address in addresses} <= allowed:
            raise RefusedError("refused_address", "names a host whose address is not a public one")
        failure: Exception = httpcore.ConnectError(f"no address of {host}")
        for address in addresses:
            try:
                return await self._sockets.connect_tcp(
                    address, port, timeout or _CONNECT_SECONDS, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure
