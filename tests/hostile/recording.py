"""A runtime that reads HTTP by the letter, and records every request that it sees."""

import contextlib
import json
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO, Self

from heliograph_gateway.routing import Endpoint

ANSWER = {"created": 1, "data": [{"b64_json": "AAAA", "seed": 7}], "output_format": "png", "size": "64x64"}

_PATIENCE = 30.0
_LINE = re.compile(rb"(?P<method>[A-Z]+) (?P<target>/[!-~]*) HTTP/1\.1")
_FIELD = re.compile(rb"(?P<name>[A-Za-z0-9-]+):[ \t]*(?P<value>[!-~](?:[ -~]*[!-~])?)?[ \t]*")


class FramingError(Exception):
    """A request whose bounds could be read in two ways, or that is no request."""


@dataclass(frozen=True)
class Seen:
    """One request.

    Attributes:
        method: Its method.
        target: Path and query.
        headers: Names in lower case and values, in their order.
        body: Its body.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


@dataclass
class Recorder:
    """A server on a free port that answers each request with a picture.

    Attributes:
        host: Address to listen on; empty for all of this host.
        answering: Called before each answer, in the thread of its connection.
        seen: The requests, in their order.
        faults: What was no unambiguous request.
        connections: How many there were.
    """

    host: str = "127.0.0.1"
    answering: Callable[[], None] = lambda: None
    seen: list[Seen] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        self._socket = socket.create_server((self.host, 0), backlog=512)
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
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(_PATIENCE)
        with connection, contextlib.suppress(OSError), connection.makefile("rb") as stream:
            try:
                while seen := read_request(stream):
                    self.seen.append(seen)
                    self.answering()
                    content = json.dumps(ANSWER).encode()
                    head = (
                        f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
                    )
                    connection.sendall(head.encode() + content)
            except FramingError as error:
                self.faults.append(str(error))


def read_request(stream: BinaryIO) -> Seen | None:
    """Return the next request of a connection, None at its end; raise `FramingError` for any liberty taken."""
    line = _line(stream)
    if line is None:
        return None
    request = _LINE.fullmatch(line)
    if request is None:
        raise FramingError(f"request line {line!r}")
    headers = []
    while text := _line(stream):
        found = _FIELD.fullmatch(text)
        if found is None:
            raise FramingError(f"header {text!r}")
        headers.append((found["name"].decode().lower(), (found["value"] or b"").decode()))
    body = _body(stream, headers)
    return Seen(request["method"].decode(), request["target"].decode(), tuple(headers), body)


def _line(stream: BinaryIO) -> bytes | None:
    """Return a line without its end, or None at the end of the connection."""
    line = stream.readline(65_536)
    if not line:
        return None
    if not line.endswith(b"\r\n"):
        raise FramingError(f"end of the line {line[-20:]!r}")
    return line[:-2]


def _body(stream: BinaryIO, headers: list[tuple[str, str]]) -> bytes:
    lengths = [value for name, value in headers if name == "content-length"]
    codings = [value for name, value in headers if name == "transfer-encoding"]
    if len(lengths) + len(codings) > 1:
        raise FramingError(f"lengths {lengths} and codings {codings}")
    if codings:
        if codings != ["chunked"]:
            raise FramingError(f"coding {codings}")
        return _chunks(stream)
    if not lengths:
        return b""
    if not re.fullmatch("[0-9]{1,12}", lengths[0]):
        raise FramingError(f"length {lengths[0]!r}")
    return _exactly(stream, int(lengths[0]))


def _chunks(stream: BinaryIO) -> bytes:
    body = b""
    while True:
        line = _line(stream) or b""
        if not re.fullmatch(b"[0-9a-fA-F]{1,8}", line):
            raise FramingError(f"chunk {line!r}")
        size = int(line, 16)
        if not size:
            if (trailer := _line(stream)) != b"":
                raise FramingError(f"trailer {trailer!r}")
            return body
        body += _exactly(stream, size)
        if _exactly(stream, 2) != b"\r\n":
            raise FramingError("end of a chunk")


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise FramingError(f"{len(data)} bytes of {size}")
    return data
