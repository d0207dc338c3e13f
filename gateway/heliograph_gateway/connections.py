"""A client's connection: bounds on how slow a client may be, and how many there are, and how one is refused."""

import json
import logging
from dataclasses import dataclass
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from heliograph_api.errors import APIError
from heliograph_gateway.guarded import GuardedProtocol

logger = logging.getLogger(__name__)

LINGER_SECONDS = 2.0
"""Seconds that are given to a client to take in why it was refused, while what it still sends is dropped."""


@dataclass(frozen=True)
class Bounds:
    """How slow clients may be, and how many.

    Attributes:
        header_seconds: Time for the head of a request; counted from the connection, for the first.
        body_seconds: Time for what is left of a body once it was answered.
        write_seconds: After so long, a client must have taken what it is to take in that time.
        least_rate: That is, so many bytes in a second.
        connections: Most connections at a time.
    """

    header_seconds: float
    body_seconds: float
    write_seconds: float
    least_rate: int
    connections: int


class WireConfig(uvicorn.Config):
    """uvicorn's configuration and the bounds.

    Attributes:
        bounds: What each connection keeps to.
    """

    def __init__(self, app: ASGIApp, *, bounds: Bounds, **options: Any) -> None:
        """Take the bounds, and what `uvicorn.Config` takes."""
        self.bounds = bounds
        super().__init__(app, http=Connection, **options)


class Connection(GuardedProtocol):
    """A client's connection, which is cut where its client is too slow, and makes room for another where it is idle."""

    def __init__(self, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any], **kw: Any) -> None:
        """Make the protocol of a connection that is still to come."""
        super().__init__(config, server_state, app_state, **kw)
        self._bounds = cast("WireConfig", config).bounds
        self._is_leaving = False
        self._stalled: tuple[float, int] | None = None
        self._closing_since: float | None = None

    # What asyncio calls.

    def connection_made(self, transport: Any) -> None:
        """Take the connection, in place of one that has nothing to do if there are too many."""
        super().connection_made(transport)
        self.since = self.loop.time()
        if len(self.connections) <= self._bounds.connections:
            return
        idle = [one for one in self.connections if isinstance(one, Connection) and one is not self and one.is_idle]
        if idle:
            min(idle, key=lambda one: one.since or 0.0).transport.abort()
        else:
            error = APIError(
                503,
                f"The gateway has {self._bounds.connections} connections at work, and takes no more; try again in 5 s.",
                code="overloaded",
                headers={"Retry-After": "5"},
            )
            self.refuse(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request at work that nobody waits for it; uvicorn tells the last one that came."""
        super().connection_lost(exc)
        if self._running and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()

    def resume_writing(self) -> None:
        """Write more to the client, which took nearly all there was."""
        super().resume_writing()
        self._stalled = None

    def on_response_complete(self) -> None:
        """Go on with what waits behind an answer: the next request, a refusal, or the rest of the body."""
        super().on_response_complete()
        if self._problem and self._refused and self._is_quiet:
            self._say(self._problem)
        elif self._in_body and self.cycle.response_complete:
            self.since = self.loop.time()

    # What the parser calls.

    def on_headers_complete(self) -> None:
        """Serve a request, the last of this connection if the server is about to end."""
        super().on_headers_complete()
        if self._is_leaving:
            self.cycle.keep_alive = False

    # What the server calls.

    @property
    def is_idle(self) -> bool:
        """Whether no request is at work, nor on its way with a whole head."""
        return self._is_quiet and not self._in_body and not self._refused

    def let_go(self) -> None:
        """Close the connection with an answer whose head is still to come, which tells the client so."""
        self._is_leaving = True
        if not self._is_quiet and not self.cycle.response_started:
            self.cycle.keep_alive = False

    def check(self, now: float) -> None:
        """Cut the connection if its client is too slow; called every second or so.

        Args:
            now: The event loop's time.
        """
        if self._closing_since is not None:
            if now - self._closing_since > LINGER_SECONDS:
                self.transport.abort()
        elif self.since is not None and not self._refused:
            if not self._in_body and now - self.since > self._bounds.header_seconds:
                self.refuse(APIError(408, "The head of the request did not come in time.", code="request_timeout"))
            elif self._in_body and now - self.since > self._bounds.body_seconds:
                self.transport.abort()
        self._check_writing(now)

    def refuse(self, error: APIError) -> None:
        """Answer with an error, behind the answers that are due before it, and take nothing more."""
        self._refused, self._problem = True, error
        cut, self._in_body = self.cycle if self._in_body else None, False
        if cut and cut is not self._running:
            self.pipeline.popleft()
        elif cut and cut.response_started:
            self.transport.close()
        elif cut:
            cut.disconnected = True
            cut.message_event.set()
            self._say(error)
        elif self._is_quiet:
            self._say(error)

    def _say(self, error: APIError) -> None:
        logger.info(
            "refused a request of %s: %d %s", self.client[0] if self.client else "-", error.status, error.message
        )
        body = json.dumps(error.body()).encode()
        headers = [*self.server_state.default_headers, (b"content-type", b"application/json")]
        headers += [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
        headers += [(b"content-length", b"%d" % len(body)), (b"connection", b"close")]
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        self.transport.write(STATUS_LINE[error.status] + lines + b"\r\n" + body)
        self._closing_since = self.loop.time()
        # A socket that is closed with something unread in it takes the answer along.
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _check_writing(self, now: float) -> None:
        """Cut a client that takes less of what is written to it than it must.

        How much it takes is seen where nothing is written meanwhile: there is too much already, or all of it.
        """
        size = self.transport.get_write_buffer_size()
        if not size or not (self.flow.write_paused or self._is_quiet):
            self._stalled = None
        elif self._stalled is None:
            self._stalled = now, size
        elif now - self._stalled[0] >= self._bounds.write_seconds:
            if self._stalled[1] - size < self._bounds.least_rate * self._bounds.write_seconds:
                logger.info("cut %s, which does not read its answer", self.client[0] if self.client else "-")
                self.transport.abort()
            self._stalled = now, size
