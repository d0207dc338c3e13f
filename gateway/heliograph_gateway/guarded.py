"""uvicorn's protocol with a guard before its parser."""

import re
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from heliograph_api.errors import APIError
from heliograph_gateway.wire_guard import (
    CHUNK_BYTES,
    MAX_CHUNK_BYTES,
    MAX_FRAMING_BYTES,
    MAX_HEAD_BYTES,
    Head,
    malformed,
)

_UPGRADE = re.compile(rb"upgrade:[^\r\n\0]*\r\n", re.IGNORECASE)
_MAX_AHEAD = 64
"""Most requests of one connection that wait behind the one at work."""


class GuardedProtocol(HttpToolsProtocol):
    """A connection whose requests are looked at before they are parsed.

    What comes is fed to the parser in slices that end where a line ends, or a body of known size; so the end of each
    request is known, and the next one on the same connection is looked at like the first.

    Attributes:
        since: When what the server waits for began, on the event loop's clock: a head, or the end of a body that is
            answered already; None while it waits for neither.
    """

    def __init__(self, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any], **kw: Any) -> None:
        """Make the protocol of a connection that is still to come."""
        super().__init__(config, server_state, app_state, **kw)
        self.since: float | None = None
        self._running: RequestResponseCycle | None = None
        self._line = b""
        self._fed = b""
        self._head: Head | None = None
        self._in_head = False
        self._in_body = False
        self._left = 0
        self._framing = 0
        self._problem: APIError | None = None
        self._refused = False
        self._is_last = False

    @abstractmethod
    def refuse(self, error: APIError) -> None:
        """Answer with an error, behind the answers that are due before it, and take nothing more."""

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        self._unset_keepalive_if_required()
        start, end = 0, len(data)
        while start < end and not self._deaf:
            stop = min(start + self._left, end) if self._left else data.find(b"\n", start) + 1 or end
            self._feed(data[start:stop])
            start = stop

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Begin with a request."""
        super().on_message_begin()
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; those behind a body mean nothing."""
        if not self._in_head or self._head is None:
            return
        try:
            self._head.header(name, value)
        except APIError as error:
            self._problem = error
            raise
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Serve a request once its head is in order."""
        head = self._head
        if head is None:
            raise malformed("it has no first line")
        try:
            head.end()
        except APIError as error:
            self._problem = error
            raise
        self._in_head, self._in_body = False, True
        self._left, self._framing = head.length, 0
        self.since = None
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._framing -= len(body)
        self._left = max(0, self._left - len(body))
        super().on_body(body)

    def on_chunk_header(self) -> None:
        """Expect as many bytes as the line says that was just fed."""
        self._framing -= CHUNK_BYTES
        self._left = int(self._fed.partition(b";")[0], 16)
        if self._left > MAX_CHUNK_BYTES:
            self._problem = malformed(f"a chunk is larger than {MAX_CHUNK_BYTES} bytes")
            raise self._problem

    def on_message_complete(self) -> None:
        """End a request."""
        self._in_body, self._head, self.since = False, None, None
        self._is_last = not self.cycle.keep_alive
        super().on_message_complete()

    # What uvicorn calls where it refuses.

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - llhttp's words are for programmers
        """Refuse what is no proper HTTP."""
        self.refuse(self._problem or malformed("its lines, lengths or chunks are not as RFC 9112 has them"))

    @property
    def _deaf(self) -> bool:
        """Whether nothing that still comes means anything."""
        return self._refused or self._is_last or self.transport.is_closing()

    @property
    def _is_quiet(self) -> bool:
        return not self.pipeline and (self._running is None or self._running.response_complete)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _feed(self, data: bytes) -> None:
        if self._head is None:
            data = self._first_line(data)
            if not data:
                return
        elif self._in_head:
            data = self._header_line(data) if self._counted(self._head.take, len(data)) else b""
            if not data:
                return
        elif not self._left:
            self._framing += len(data)
            if self._framing > MAX_FRAMING_BYTES:
                self.refuse(malformed(f"its chunks have more than {MAX_FRAMING_BYTES} bytes of extensions"))
                return
            data = self._whole_line(data)
            if not data:
                return
        self._fed = data
        super().data_received(data)
        self._framing = max(self._framing, 0)

    def _first_line(self, data: bytes) -> bytes:
        """Return the request line once it is whole and in order; empty lines before it are dropped."""
        if self.since is None:
            self.since = self.loop.time()
        line = self._whole_line(data)
        if len(self._line) > MAX_HEAD_BYTES:
            self.refuse(malformed(f"its head is longer than {MAX_HEAD_BYTES} bytes"))
        if not line or line == b"\r\n":
            return b""
        if len(self.pipeline) >= _MAX_AHEAD:
            self.refuse(malformed(f"more than {_MAX_AHEAD} were sent ahead of their answers"))
            return b""
        try:
            self._head = Head(line)
        except APIError as error:
            self.refuse(error)
            return b""
        return line

    def _header_line(self, data: bytes) -> bytes:
        """Return a header's line once it is whole; nothing for the wish for another protocol.

        At that the parser would take the request for one without a body, and its body for the next request.
        """
        self._line += data
        if not self._line.endswith(b"\n"):
            return b""
        line, self._line = self._line, b""
        return b"" if _UPGRADE.fullmatch(line) else line

    def _whole_line(self, data: bytes) -> bytes:
        """Return a line once its end has come, and nothing until then."""
        data, self._line = self._line + data, b""
        if data.endswith(b"\n"):
            return data
        self._line = data
        return b""

    def _counted(self, count: Callable[[int], None], size: int) -> bool:
        try:
            count(size)
        except APIError as error:
            self.refuse(error)
        return not self._refused
