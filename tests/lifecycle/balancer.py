"""A TCP load balancer, as a Service is one: it leads each new connection to one of those that are ready."""

import contextlib
import itertools
import socket
import threading
from types import TracebackType
from typing import Self

_PART = 65_536


class Balancer:
    """Leads connections from a loopback port to its members; a connection stays where it was led.

    Attributes:
        port: Where it listens.
    """

    def __init__(self) -> None:
        self._members: tuple[int, ...] = ()
        self._turns = itertools.count()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A blocked accept does not notice that its socket was closed.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def set_members(self, *ports: int) -> None:
        """Lead new connections to these loopback ports from now on."""
        self._members = ports

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._lead, args=(near,), daemon=True).start()

    def _lead(self, near: socket.socket) -> None:
        members = self._members
        place = "127.0.0.1", members[next(self._turns) % len(members)]
        with near, contextlib.suppress(OSError), socket.create_connection(place) as far:
            back = threading.Thread(target=_pump, args=(far, near), daemon=True)
            back.start()
            _pump(near, far)
            back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Pass on what comes, and the end of it."""
    with contextlib.suppress(OSError):
        while data := source.recv(_PART):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
