"""Passing a client's request on to a replica, and the answer back, unbuffered."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from heliograph_api.errors import APIError
from heliograph_api.usage import Usage
from heliograph_gateway.answers import Share
from heliograph_gateway.auth import owner_of
from heliograph_gateway.body import Body
from heliograph_gateway.cancelling import in_thread_to_its_end
from heliograph_gateway.names import Route
from heliograph_gateway.presence import while_present
from heliograph_gateway.proxy import Upstream
from heliograph_gateway.record import record_of
from heliograph_gateway.replicas import Answer, Order
from heliograph_gateway.telling import told
from heliograph_gateway.usage.reading import read_usage

# Lists of what passes, not of what is held back: neither the client's credentials, cookies and claims about where it
# comes from, nor a runtime's cookies, redirects and hop-by-hop headers, are on them.
_REQUEST_HEADERS = ("accept", "content-type", "traceparent", "tracestate")
_RESPONSE_HEADERS = (
    "cache-control", "content-encoding", "content-length", "content-type", "retry-after", "retry-after-ms",
    "x-accel-buffering", "x-should-retry",
)  # fmt: skip
_PIECE = 4 * 1024 * 1024
_AROUND_VALUES = b",[{"
_MOST_VALUES = 500_000
"""Most values and commas in an answer that is changed; one with pictures has some for each, and those of prompts."""
_BROKEN_WHEN_CHANGED = ("content-encoding", "content-length")


class Passage:
    """How the body of an answer goes from a replica to the client: as it comes.

    Attributes:
        changes: Whether the bytes are changed on the way.
        stream: Whether they are events.
        failed: Whether one of these events told of a failure.
        remedy: What the client can do about an answer, or an event, that is too large to be changed.
    """

    changes = False
    stream = False
    failed = False
    remedy = "ask for smaller pictures, or for a shorter clip"

    def pass_on(self, parts: AsyncIterator[bytes], share: Share) -> AsyncIterator[bytes]:  # noqa: ARG002 - as below
        """Return what the client gets for the parts that a replica sends; may raise `APIError`.

        Args:
            parts: The parts.
            share: Where the bytes count that are kept meanwhile.
        """
        return parts

    def ending(self, error: APIError) -> bytes | None:  # noqa: ARG002 - subclasses read it
        """Return what ends a body that broke off after its beginning; None cuts the connection instead."""
        return None


class WholeAnswer(Passage, ABC):
    """A JSON answer that is changed, and passed on once all of it is there."""

    changes = True

    async def pass_on(self, parts: AsyncIterator[bytes], share: Share) -> AsyncIterator[bytes]:
        """Yield the changed answer; raise `APIError` (502) if a runtime's is not what it should be."""
        content = bytearray()
        async for part in parts:
            share.take(len(part))
            content += part
        try:
            async with share.alone(len(content)):
                answer = await in_thread_to_its_end(_read, content)
            written = _written(await self._changed(answer))
            piece = await asyncio.to_thread(next, written, b"")
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise not_pictures() from error
        while len(piece) > _PIECE:
            yield piece
            piece = await asyncio.to_thread(next, written, b"")
        if piece:
            yield piece

    @abstractmethod
    async def _changed(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Return what the client gets; `ValueError`, `LookupError` and `TypeError` blame the runtime's answer."""


def _read(content: bytearray) -> Any:
    """Return what JSON says; what it is read from is gone afterwards.

    Raises:
        ValueError: It is none, or says so many things that they would take many times as much memory.
    """
    if sum(map(content.count, _AROUND_VALUES)) > _MOST_VALUES:
        raise ValueError("too many values")
    text = content.decode()
    content.clear()
    return json.loads(text)


def _written(answer: Any) -> Iterator[bytes]:
    """Yield an answer as JSON, in pieces of more than `_PIECE` and then the rest, so that it is not in memory twice."""
    held, size = list[str](), 0
    for text in json.JSONEncoder().iterencode(answer):
        held.append(text)
        size += len(text)
        if size > _PIECE:
            yield "".join(held).encode()
            held, size = [], 0
    if held:
        yield "".join(held).encode()


def not_pictures() -> APIError:
    """Return the error for an answer of a runtime that holds no pictures where they should be."""
    return APIError(
        502,
        "The model answered with something that is no picture; ask for b64_json to see it, or look into its log.",
        code="upstream_error",
        headers={"x-should-retry": "false"},
    )


class Forwarded(Response):
    """An answer that is fetched from a replica while it is sent.

    Fetching it sooner would leave nobody to give the replica back if this is never sent. When the client leaves, the
    connection to the replica is closed.
    """

    def __init__(
        self,
        upstream: Upstream,
        request: Request,
        body: bytes | Body,
        route: Route,
        *,
        path: str | None = None,
        content_type: str | None = None,
        passage: Passage | None = None,
    ) -> None:
        """Make the answer.

        Args:
            upstream: Asks the replicas.
            request: The client's request.
            body: Body for the replica.
            route: The model.
            path: Path at the replica where it is not the client's.
            content_type: Content type of `body` where it is not the client's.
            passage: How the answer's body is passed on.
        """
        super().__init__()
        self._upstream = upstream
        self._route = route
        self._passage = passage or Passage()
        self._record = record_of(request.scope)
        headers = {name: request.headers[name] for name in _REQUEST_HEADERS if name in request.headers}
        if content_type:
            headers["content-type"] = content_type
        self._order = Order(
            path or request.scope["path"],
            body,
            headers,
            self._record.request_id,
            owner=owner_of(request.scope),
            stream=self._passage.stream,
        )

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the client."""
        async with while_present(receive):
            await self._relay(send)

    async def _relay(self, send: Send) -> None:
        try:
            async with self._waits_told(send) as end, self._upstream.answer(self._route, self._order) as answer:
                await self._pass_on(answer, send, is_begun=await end())
            if self._passage.failed:
                self._record.failure = HTTPStatus.BAD_GATEWAY
        except APIError as error:
            if self._record.status is None:
                raise
            self._record.failure = error.status
            if self._record.usage is None:
                # It broke off before the runtime told of a first picture.
                self._record.note(Usage())
            ending = self._passage.ending(error)
            if ending is None:
                return  # the server sees that the body is not whole, and cuts the connection
            await send({"type": "http.response.body", "body": ending, "more_body": True})
        finally:
            self._record.held_seconds = self._order.wait.seconds
        await send({"type": "http.response.body", "body": b""})

    def _waits_told(self, send: Send) -> AbstractAsyncContextManager[Callable[[], Awaitable[bool]]]:
        """Tell a client that gets events how its request waits; what is yielded ends that."""
        if self._order.stream:
            return told(self._order.wait, self._upstream.routes, send)
        return nullcontext(_nothing_told)

    async def _pass_on(self, answer: Answer, send: Send, *, is_begun: bool) -> None:
        share = self._upstream.answers.share(remedy=self._passage.remedy)
        # The server may have some of the answer until the last of it is sent.
        self._record.cleanup.callback(share.close)
        parts = self._passage.pass_on(read_usage(answer.headers, answer.parts, self._record.note), share)
        # An error of the first part still gets a status of its own.
        first = await anext(parts, b"")
        self._record.is_begun = True
        if not is_begun:
            names = [
                name
                for name in _RESPONSE_HEADERS
                if name in answer.headers and not (self._passage.changes and name in _BROKEN_WHEN_CHANGED)
            ]
            headers = [(name.encode(), answer.headers[name].encode(errors="surrogateescape")) for name in names]
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": first, "more_body": True})
        async for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})


async def _nothing_told() -> bool:
    return False
