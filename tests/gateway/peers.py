"""What a gateway under test talks to: runtimes that misbehave in ways a real one does not do on demand."""

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

from heliograph_gateway.routing import Endpoint

_PATIENCE = 30.0


@dataclass
class Received:
    """One request as it arrived.

    Attributes:
        line: The request line.
        headers: Header names, in lower case, and values.
        body: The body's bytes.
    """

    line: str
    headers: dict[str, str]
    body: bytes


Behaviour = Callable[[socket.socket], None]


@dataclass
class Peer:
    """A server on a free port that reads each request in full and then does what it is told.

    Attributes:
        behaviour: Called with the connection once a request is read; the connection is closed afterwards.
        host: Address to listen on; empty for all of this host.
        requests: What arrived.
    """

    behaviour: Behaviour
    host: str = "127.0.0.1"
    requests: list[Received] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._socket = socket.create_server((self.host, 0))
        self.endpoint = Endpoint(*self._socket.getsockname())

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        # A blocked accept does not notice that its socket was closed.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(_PATIENCE)
        with connection, contextlib.suppress(OSError):
            self.requests.append(_read_request(connection))
            self.behaviour(connection)


def answer(
    status: int, body: bytes | dict[str, Any], *headers: str, content_type: str = "application/json"
) -> Behaviour:
    """Answer with a status and a body."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"HTTP/1.1 {status} Whatever", f"content-type: {content_type}", f"content-length: {len(content)}", *headers]
    return lambda connection: connection.sendall("\r\n".join([*head, "", ""]).encode() + content)


def say(content: bytes) -> Behaviour:
    """Send some bytes and close the connection."""
    return lambda connection: connection.sendall(content)


def reset(content: bytes = b"") -> Behaviour:
    """Send some bytes and break the connection, as a process that is killed does."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(content)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return behave


def hold(left: threading.Event) -> Behaviour:
    """Answer nothing; set `left` when the other side closes the connection."""

    def behave(connection: socket.socket) -> None:
        if connection.recv(1) == b"":
            left.set()

    return behave


@contextlib.contextmanager
def refusing_endpoint() -> Iterator[Endpoint]:
    """An endpoint that refuses connections, and whose port nobody else gets meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield Endpoint(*bound.getsockname())


def _read_request(connection: socket.socket) -> Received:
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65_536)
        if not part:
            raise OSError("no request came")
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += connection.recv(65_536)
    return Received(line, headers, body)
