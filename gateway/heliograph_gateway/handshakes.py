"""Listening for HTTPS, with bounds on the connections that have not ended their handshake."""

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections.abc import Callable, Collection
from dataclasses import dataclass

logger = logging.getLogger(__name__)

_PAUSE_SECONDS = 1.0
_NOT_HERE = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
"""What a machine says of an address whose family, such as IPv6, it lacks or has switched off, or that is another's."""


@dataclass(frozen=True)
class HandshakeBounds:
    """How long handshakes may take, and how many there may be.

    Attributes:
        seconds: Time for one handshake.
        connections: Most connections at a time, with those that shake hands.
    """

    seconds: float
    connections: int


class TlsListener:
    """A listening socket whose connections count from the moment that they are accepted.

    asyncio's own servers say nothing of a connection before its handshake has ended, and a client may put that off.
    Where there are too many, the oldest handshake makes room, as an idle connection does.

    Attributes:
        sockets: The listening socket.
    """

    def __init__(
        self,
        listener: socket.socket,
        context: Callable[[], ssl.SSLContext],
        factory: Callable[[], asyncio.Protocol],
        *,
        bounds: HandshakeBounds,
        connections: Collection[object],
    ) -> None:
        """Begin to accept connections; must be called in the event loop.

        Args:
            listener: A socket that listens.
            context: Returns what a connection is made with; asked at each handshake.
            factory: Makes the protocol of a connection.
            bounds: What handshakes keep to.
            connections: The connections whose handshake has ended.
        """
        listener.setblocking(False)
        self.sockets = (listener,)
        self._context = context
        self._factory = factory
        self._bounds = bounds
        self._connections = connections
        self._shaking: dict[socket.socket, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.create_task(self._accept(listener), name="HTTPS")

    def close(self) -> None:
        """Accept nothing more, and end the handshakes."""
        self._accepting.cancel()
        for connection in self._shaking:
            _cut(connection)

    async def wait_closed(self) -> None:
        """Wait until the last handshake has ended."""
        await asyncio.gather(self._accepting, *self._tasks, return_exceptions=True)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with listener:
            while True:
                await self._accept_one(loop, listener)

    async def _accept_one(self, loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
        try:
            connection, _ = await loop.sock_accept(listener)
        except OSError as error:
            # Such as too many open files; what was accepted before may end meanwhile.
            logger.error("no connection could be accepted: %s", error.strerror)  # noqa: TRY400 - it says it all
            await asyncio.sleep(_PAUSE_SECONDS)
            return
        # Idle connections make room once a handshake has ended, so that some may always be under way.
        most = self._bounds.connections
        if len(self._shaking) >= max(1, most // 8, most - len(self._connections)):
            oldest = next(iter(self._shaking))
            del self._shaking[oldest]
            _cut(oldest)
        self._shaking[connection] = None
        task = asyncio.create_task(self._shake_hands(connection), name="handshake")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _shake_hands(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.connect_accepted_socket(
                self._factory, connection, ssl=self._context(), ssl_handshake_timeout=self._bounds.seconds
            )
        except OSError as error:
            # The client's doing: it left, took too long, or speaks something else.
            logger.debug("a TLS handshake failed: %s", type(error).__name__)
            connection.close()
        finally:
            self._shaking.pop(connection, None)


def listen(host: str, port: int, *, backlog: int) -> list[socket.socket]:
    """Return sockets that listen on all addresses of a host that this machine has, as asyncio's servers do.

    Raises:
        OSError: It has none of them, or cannot listen on one that it has.
    """
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    places = dict.fromkeys((family, str(address[0]), int(address[1])) for family, _, _, _, address in found)
    listeners = []
    with contextlib.ExitStack() as made:
        for family, address, number in places:
            try:
                listener = socket.create_server((address, number), family=family, backlog=backlog)
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
            else:
                listeners.append(made.enter_context(listener))
        made.pop_all()
    if not listeners:
        names = ", ".join(address for _, address, _ in places)
        raise OSError(errno.EADDRNOTAVAIL, f"this machine cannot listen on {names}; name an address that it has")
    return listeners


def _cut(connection: socket.socket) -> None:
    """End a connection that belongs to a transport, which takes that for its client's doing and cleans up."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError as error:
        logger.debug("a connection had ended: %s", type(error).__name__)
